"""The sample retailer: an invented catalog and stock, loaded into an empty database.

Its rules are in the `rules` folder.
"""
