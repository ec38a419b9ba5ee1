"""What the rules decide for a channel, an order or an exception.

Sellable units with buffers, eligible locations, ranking, shipment plans, routing, delivery dates, an order's promise,
cancellations, and who resolves an exception. Matching conditions is in `engine`; stock formulas are in `stock`.
"""
