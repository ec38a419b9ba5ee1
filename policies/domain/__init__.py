"""The terms of the trade as values.

Locations, products, channels, orders, shipments, statuses, calendars and distances. Rules and decisions are in
`decisions`; stock formulas are in `stock`.
"""
