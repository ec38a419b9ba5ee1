"""Stock transfers between two locations: dispatched, received, lost in transit.

Units on their way in stock levels are in `feeds.incoming`.
"""
