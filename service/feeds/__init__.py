"""What sources report of stock: declared feeds, counts and movements, quarantine, silence, incoming units.

The figures themselves are in `stock`.
"""
