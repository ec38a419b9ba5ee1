"""Orders and units that are cancelled, and the requests of shoppers to cancel them."""
