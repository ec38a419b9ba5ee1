"""The words of the trade as values.

Locations, products, channels, orders, shipments, statuses, calendars and geography. Nothing here decides.
"""
