"""What the rules decide.

Eligibility, buffers, sellable units, ranking, plans, routing, delivery dates, the promise of an order, cancellations,
and what policy does about exceptions. How a condition is matched is in `engine`; stock formulas are in `stock`.
"""
