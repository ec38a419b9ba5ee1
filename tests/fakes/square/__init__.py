"""A fake Square merchant: `books` has its tills and counts, `api` answers calls, `merchant` runs both."""
