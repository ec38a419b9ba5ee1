"""A fake Shopify shop: `books` is the shop, `nodes` shows it on Shopify's own schema, `api` answers calls."""
