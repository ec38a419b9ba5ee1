"""The sample retailer: a made-up catalog and stock, loaded into an empty database."""
