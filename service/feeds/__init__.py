"""What sources report on stock: declared feeds, counts, movements, quarantine, silent feeds, incoming units.

The stock levels themselves are in `stock`.
"""
