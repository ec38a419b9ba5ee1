"""A fake TikTok Shop: `books` is the shop, `api` the Partner API that shows it, `serving` runs both."""
