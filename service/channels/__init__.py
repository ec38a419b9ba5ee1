"""Sales channels that feed orders, returns and counts by themselves: Shopify, TikTok Shop, Square.

A client of the API like `cli`, and a process of its own: it reaches orders and stock only through gRPC. Each platform
has a folder that no other platform imports; `signature` and `words` there are pure.
"""
