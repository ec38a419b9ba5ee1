"""The past as it is recorded: changes of the catalog, and pages of the history tables.

Unmet demand is in `demand`, the history of rules in `policy`, and movements of stock in `stock`.
"""
