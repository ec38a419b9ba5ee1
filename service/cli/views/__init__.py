"""Tables and texts that the commands print. Nothing here calls the API."""
