"""TikTok Shop: the Partner API from 202309 on, and its webhooks."""
