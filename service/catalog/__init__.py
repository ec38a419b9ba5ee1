"""Locations, products, channels and working hours, cached by version. Feeds are in `feeds`."""
