"""The kinds of files that `truestock import` reads and `truestock export` writes."""

from __future__ import annotations

from service.cli.files.channel_file import CHANNELS
from service.cli.files.feed_file import FEEDS
from service.cli.files.kit_file import KITS
from service.cli.files.listing_file import LISTINGS
from service.cli.files.location_file import LOCATIONS
from service.cli.files.outlet_file import OUTLETS, POOLS
from service.cli.files.product_file import PRODUCTS
from service.cli.files.stock_file import STOCK

KINDS = {
    "locations": LOCATIONS,
    "products": PRODUCTS,
    "channels": CHANNELS,
    "pools": POOLS,
    "outlets": OUTLETS,
    "listings": LISTINGS,
    "kits": KITS,
    "feeds": FEEDS,
    "stock": STOCK,
}
