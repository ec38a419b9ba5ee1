"""Personal data of orders: dropped some time after an order is finished, or as soon as it is if somebody asks for it.

SECURITY.md has the map of all columns that can hold personal data.
"""
