"""Square: orders and counts of its tills, and its webhooks."""
