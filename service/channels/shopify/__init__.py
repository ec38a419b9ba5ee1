"""Shopify: the GraphQL Admin API from 2026-04 on, and its webhooks."""
