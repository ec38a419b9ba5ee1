"""Three made-up shops on this machine in which somebody always buys: TikTok Shop, Shopify and Square.

Writes what a retailer needs to connect them to a folder: an accounts file, its secrets, and a small catalog.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from tests.fakes.shopify.shop import ShopifyShop
from tests.fakes.square.merchant import SquareMerchant
from tests.fakes.square.tokens import MERCHANT_ID
from tests.fakes.tiktok_shop.shop import TikTokShop
from tests.vendors.presence import has_packages_of_npm

FIRST_PORT = 8101
SKUS = {"MUG": "Mug", "BOWL": "Bowl", "TRAY": "Tray"}
UNITS = 500
CATALOG = {
    "locations": "location_id,display_name,type,country,offers_pickup\n"
    "memphis,Memphis,warehouse,US,no\naustin,Austin,store,US,yes\n",
    "products": "sku,display_name\n" + "".join(f"{sku},{name}\n" for sku, name in SKUS.items()),
    "channels": "channel_id,kind,platform,location_ids,unpaid_order_minutes\n"
    "tiktok_shop,social,tiktok_shop,memphis,60\n"
    "shopify,web,shopify,memphis|austin,60\n"
    "square,pos,square,austin,60\n",
    "stock": "sku,location_id,on_hand_count\n"
    + "".join(f"{sku},{place},{UNITS}\n" for sku in SKUS for place in ("memphis", "austin")),
}


@dataclass(frozen=True, slots=True)
class Stand:
    """A made-up shop: its entry of the accounts file, its secrets, and somebody who buys a SKU there."""

    name: str
    platform: str
    """The channel in the catalog is called like it."""
    shop: str
    address: str
    secrets: Mapping[str, str]
    more_environment: Mapping[str, str]
    buy: Callable[[str], Any]

    def environment(self) -> dict[str, str]:
        """The secrets by the variables that the accounts file names."""
        return {self._variable(name): value for name, value in self.secrets.items()} | dict(self.more_environment)

    def account(self, public_url: str) -> str:
        """The entry of the accounts file."""
        secrets = "".join(f"      {name}: {{env: {self._variable(name)}}}\n" for name in self.secrets)
        return (
            f"  - name: {self.name}\n    platform: {self.platform}\n    channel: {self.platform}\n"
            f"    shop: {self.shop!r}\n    public_url: {public_url}\n    api_url: {self.address}\n    mode: observe\n"
            f"    secrets:\n{secrets}"
            "    returns: {location: austin, disposition: inspect}\n"
        )

    def _variable(self, secret: str) -> str:
        return f"{self.name}_{secret}".upper()


def tiktok_shop(shop: TikTokShop) -> Stand:
    """Sells from the warehouse."""
    memphis = shop.books.add_warehouse("Memphis").id
    for sku in SKUS:
        shop.books.add_sku(sku, {memphis: UNITS})
    secrets = {"app_key": shop.app_key, "app_secret": shop.app_secret}
    code = {"TIKTOK_CODE": shop.tokens.auth_code}
    buy = shop.books.buy
    return Stand("tiktok", "tiktok_shop", shop.shop_id, shop.address, secrets, code, lambda sku: buy({sku: 1}))


def shopify(shop: ShopifyShop) -> Stand:
    """Sells from the warehouse and the store."""
    places = [shop.books.add_location(name).id for name in ("Memphis", "Austin")]
    for sku in SKUS:
        shop.books.add_item(sku, dict.fromkeys(places, UNITS))
    secrets = {"client_id": shop.client_id, "client_secret": shop.client_secret}
    buy = shop.books.place_order
    return Stand("shopify", "shopify", shop.domain, shop.address, secrets, {}, lambda sku: buy({sku: 1}))


def square(merchant: SquareMerchant, public_url: str) -> Stand:
    """Sells at the till of the store. Its webhooks are subscribed, because the account states the key of that."""
    merchant.subscribe(f"{public_url}/webhooks/square")
    austin = merchant.books.add_location("Austin")
    for sku in SKUS:
        merchant.books.add_variation(sku, {austin.id: UNITS})
    secrets = {
        "application_id": merchant.client_id,
        "application_secret": merchant.client_secret,
        "signature_key": merchant.signature_key,
        "personal_access_token": merchant.tokens.personal_token,
    }
    code = {"SQUARE_CODE": merchant.tokens.code}
    sell = merchant.books.sell_at_till
    return Stand("square", "square", MERCHANT_ID, merchant.address, secrets, code, lambda sku: sell({sku: 1}, austin))


def main() -> None:
    """Serves the shops until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python tests/fakes", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".shops"), help="where files are written")
    port = int(os.environ.get("SHOPS_PORT", FIRST_PORT))
    parser.add_argument("--port", type=int, default=port, help="of the first shop; 0 takes any. Or SHOPS_PORT.")
    parser.add_argument("--seconds", type=float, default=3.0, help="between two orders")
    options = parser.parse_args()
    public_url = f"http://{os.environ.get('TRUESTOCK_CHANNELS_ADDRESS', '127.0.0.1:8090')}"
    ports = itertools.count(options.port) if options.port else itertools.repeat(0)
    with ExitStack() as stack, suppress(KeyboardInterrupt):
        stands = [
            tiktok_shop(stack.enter_context(TikTokShop().serving(next(ports)))),
            square(stack.enter_context(SquareMerchant().serving(next(ports))), public_url),
        ]
        if has_packages_of_npm():
            stands.append(shopify(stack.enter_context(ShopifyShop().serving(next(ports)))))
        else:
            _say("There is no shopify: `make vendors` installs what it needs.")
        write_files(options.folder, stands, public_url)
        for stand in stands:
            _say(f"{stand.name:<12} {stand.address}")
        _say(f"Wrote {options.folder}/; somebody buys every {options.seconds:g} s. Ctrl-C stops the shops.")
        for stand, sku in itertools.cycle(itertools.product(stands, SKUS)):
            time.sleep(options.seconds)
            order = stand.buy(sku)
            _say(f"{stand.name:<12} " + (f"sold 1 x {sku}, order {order.id}" if order else f"has no {sku} left"))


def write_files(folder: Path, stands: Sequence[Stand], public_url: str) -> None:
    """Writes the accounts file, the environment that it names, and the catalog."""
    folder.mkdir(parents=True, exist_ok=True)
    accounts = "".join(stand.account(public_url) for stand in stands)
    (folder / "channels.yaml").write_text(f"token_keys: {{env: TRUESTOCK_TOKEN_KEYS}}\naccounts:\n{accounts}")
    values = {"TRUESTOCK_CHANNELS": str(folder / "channels.yaml"), "TRUESTOCK_TOKEN_KEYS": _key(folder)}
    for stand in stands:
        values |= stand.environment()
    secrets = folder / "secrets.env"
    secrets.touch(0o600)
    secrets.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items()))
    for name, content in CATALOG.items():
        (folder / f"{name}.csv").write_text(content)


def _key(folder: Path) -> str:
    """The key of an earlier run, by which stored tokens can still be read; a new one at first."""
    file = folder / "token.key"
    if not file.exists():
        file.touch(0o600)
        file.write_text(Fernet.generate_key().decode())
    return file.read_text()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
