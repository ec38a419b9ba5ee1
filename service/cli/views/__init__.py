"""Tables and sentences that the commands print. Nothing here calls the API."""
