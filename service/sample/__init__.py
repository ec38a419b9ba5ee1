"""The sample retailer: an invented catalog with stock, loaded into an empty database."""
