"""What the README shows: every command runs, and every metric, call, bound and setting exists and none is missing."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import pkgutil
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from pydantic import AliasChoices
from pydantic.fields import FieldInfo

import truestock.v1
from policies.decisions.alternatives.decision_explanation import (
    MOST_LEFT_OUT,
    MOST_LOCATIONS,
    MOST_REPLACEMENTS,
    REPLACEMENT_LEVELS,
)
from policies.decisions.parts.split_kits import MAX_ROUNDS
from policies.decisions.planning.sets.set_search import MAX_STEPS
from policies.domain.model import LEAST_VELOCITY
from policies.reading.rules_reader import MAX_FILES, MAX_FOLDER_BYTES
from policies.source.yaml_nodes import MAX_FILE_BYTES
from service import limits
from service.channels.connector_metrics import ConnectorMetrics
from service.cli.main import app, main
from service.database import keyset
from service.database.embedded.postgres import EmbeddedPostgres
from service.metrics import Metrics
from service.settings import Settings
from tests.conftest import REPOSITORY
from tests.connector_site import ACCOUNT, CHANNEL, accounts_text, environment, read_by_a_connector
from tests.fakes.tiktok_shop.shop import TikTokShop

README = (REPOSITORY / "README.md").read_text()
SKU, SCARCE, KIT = "TRN-1205-MOS", "QLM-1404-CRE", "DUN-1790-KIT"
"""A tumbler that the sample retailer has hundreds of, and a product that is oversold here."""

# Commands


@dataclass(frozen=True, slots=True)
class Command:
    """The arguments that make a command of the README whole, and a pattern that a line of its output fits.

    Words in braces are replaced by new values for each command: see `Example`.
    """

    arguments: str
    line: str
    code: int = 0


COMMANDS = {
    "serve": Command("", r"gRPC +127\.0\.0\.1:\d+"),
    "check": Command("rules", r"\d+ rules in \d+ files, \d+ tests: \d+ passed, 0 failed"),
    "access add": Command("shop --role read --file {access_file}", r"tst_[A-Za-z0-9_-]{43}"),
    "access list": Command("--file {shared_access_file}", r"shop +read"),
    "facts": Command("stock", r"stock\.on_hand .*number"),
    "migrate": Command("--data-dir {data}", r"database is up to date"),
    "audit list": Command("--area catalog", r"truestock +service .*created"),
    "audit verify": Command("--data-dir {data}", r"The audit log is whole: \d+ sealed event"),
    "verify-ledger": Command("--data-dir {data}", r"balanced +True"),
    "availability": Command(f"{SKU} --channel tiktok_shop --locations", rf"{SKU} +\d+"),
    "stock": Command(f"{SKU} --channel shopify", r"dc-memphis +\d+"),
    "products check": Command("--channel tiktok_shop --limit 3", r"[A-Z]{3}-\d+\S* .*(is not stated|px)", 1),
    "policies": Command("", r"rules/routing/default\.yaml"),
    "rules test": Command("{small_rules}", r"Kept as candidate [0-9a-f]{16} until "),
    "rules revisions": Command("", r"[0-9a-f]{16} +in force"),
    "rules show": Command("--file rules/routing/default.yaml", r"kind: routing"),
    "feeds": Command("", r"till-denver .*store-denver"),
    "movements": Command(f"{SKU} --location store-austin", rf"{SKU} +store-austin"),
    "transfer dispatch": Command(
        f"{{transfer}} {SKU}:2 --from dc-memphis --to store-austin", r"Transfer T-\d+ from dc-"
    ),
    "transfer receive": Command(f"{{sent_transfer}} {SKU}:2", r"Transfer T-\d+ from dc-memphis to store-austin"),
    "transfer cancel": Command("{sent_transfer}", r"Transfer T-\d+ from dc-memphis to store-austin: cancelled"),
    "transfer list": Command("--location {sent_to}", rf"T-\d+ +dc-memphis +store-austin +{SKU}"),
    "pickup-locations": Command(
        f"--channel shopify --line {SKU}:1 --lat 30.27 --lon -97.74 --radius 20", r"store-austin +\d"
    ),
    "allocate": Command(
        f"--channel shopify --order {{order}} --line {SKU}:1 --country US", r"A-\d+: allocated \(held\)"
    ),
    "confirm": Command("{held}", r"shopify/A-\d+: allocated \(confirmed\)"),
    "extend": Command("{held} --minutes 30", r"shopify/A-\d+: allocated \(held\)"),
    "release": Command("{held}", r"shopify/A-\d+: released"),
    "release-hold": Command("{on_hold}", r"shopify/A-\d+: allocated \(confirmed\)"),
    "forget-order": Command("{sold}", r"shopify/A-\d+: its personal data go once nothing of it is open"),
    "cancel": Command("{sold} 1:1", r"shopify/A-\d+: cancelled"),
    "request-cancel": Command("{sold} --all", r"The shopper asked to cancel the whole order: accepted"),
    "explain": Command("{sold}", r"shopify/A-\d+: allocated \(confirmed\)"),
    "orders": Command("--channel {channel_of_sold}", r"shopify/A-\d+ +confirmed +allocated"),
    "shipments": Command("--location {location_of_parcel}", rf"shopify/A-\d+ +1 +{SKU} +1 +assigned"),
    "shipment accept": Command("{parcel}", r"accepted"),
    "shipment ready": Command("{pickup}", r"ready for pickup"),
    "shipment ship": Command("{parcel}", r"shipped"),
    "shipment undo": Command("{shipped_parcel}", r"accepted"),
    "shipment deliver": Command("{shipped_parcel}", r"delivered"),
    "shipment collect": Command("{pickup}", r"collected"),
    "shipment uncollected": Command("{pickup}", r"shopify/A-\d+: cancelled"),
    "shipment reject": Command("{parcel} --reason not-found", r"shopify/A-\d+: allocated"),
    "shipment reassign": Command("{parcel} --by kim --to store-denver", r"store-denver .*assigned"),
    "return": Command("{shipped} 1:1 --disposition sellable --to store-austin", r"shopify/A-\d+: allocated"),
    "exceptions": Command("", rf"oversell .*{SCARCE}"),
    "exceptions show": Command("{exception}", rf"oversell.*{SCARCE}|{SCARCE}.*oversell"),
    "exceptions assign": Command("{exception} --to anna", r"anna"),
    "exceptions resolve": Command("{exception} --resolution other --note known", r"other"),
    "channel-figures": Command("shopify", r"No figure of shopify was observed"),
    "report-failure": Command(
        'adapter "label refused" --kind fulfillment --order shopify/A-0', r"sync failed: label refused"
    ),
    "report-recovery": Command("adapter --order shopify/A-0", r"\d+ exceptions? resolved"),
    "history demand": Command("--channel shopify", rf"{SCARCE} +shopify +hold (cut|refused) +90000"),
    "history rules": Command("", r"started +[0-9a-f]+"),
    "history catalog": Command("store-austin --kind location", r"location +store-austin +created"),
    "report": Command("--since 1d --by channel", r"Oversold units +[\d.]+%"),
    "readiness": Command("--channel pos", r"pos: fail \(\d+ pass, ", 1),
    "watch availability": Command(f"{SKU} --channel shopify", rf"{SKU} .*\d+ sellable", 130),
    "watch orders": Command("", r"shopify/A-\d+", 130),
    "replay-decision": Command("{decision}", r"Identical"),
    "locations": Command("--type store", r"store-austin .*store"),
    "products": Command(SKU, rf"{SKU} "),
    "channels": Command("", r"tiktok_shop .*social"),
    "channels list": Command("tiktok_shop", r"tiktok_shop .*social"),
    "channels new-key": Command("", r"[A-Za-z0-9_-]{43}="),
    "channels connect": Command("tiktok-us --accounts {accounts} --data-dir {data}", r"authorized by the shop +yes"),
    "channels map": Command("tiktok-us --accounts {accounts} --data-dir {data}", r"outlet,\d+,Dallas,"),
    "channels serve": Command("--accounts {accounts} --data-dir {data}", r"webhooks +http://127\.0\.0\.1:\d+/"),
    "channels status": Command("--accounts {accounts} --data-dir {data}", r"tiktok-us +tiktok_shop +running"),
    "channels forget": Command("{connected_channel}", r"The connector of tiktok_shop is forgotten\."),
    "channels inbox": Command("--data-dir {data}", r"Nothing waits\."),
    "channels inbox show": Command("{read} --data-dir {data}", r"state +done"),
    "channels inbox replay": Command("{read} --data-dir {data}", r"1 entry is read again\."),
    "channels inbox done": Command("{unreadable} --data-dir {data}", r"1 entry is done\."),
    "kits": Command("", rf"{KIT} +1 x DUN-1701-BLA, 1 x DUN-1709-BLA-10K +together"),
    "kits delete": Command(f"{KIT} --dry-run", rf"Would delete the kit {KIT}\."),
    "listings": Command("--channel tiktok_shop", rf"tiktok_shop +1729583201114820002 +{SKU} +6"),
    "listings delete": Command("tiktok_shop {item} --dry-run", rf"Would delete item .*: 6 units of {SKU}"),
    "pools": Command("", r"all-stores .*store-austin"),
    "outlets": Command("--channel tiktok_shop", r"tiktok_shop +7311456789012345602 .*all-stores"),
    "pools delete": Command("all-stores --dry-run", r"1 outlet: 7311456789012345602 of tiktok_shop"),
    "outlets delete": Command("shopify online --dry-run", r"Would delete outlet online of shopify"),
    "tags": Command("", r"\S+ +\d+ +\d+"),
    "categories": Command("", r"\S+ +\d+"),
    "export locations": Command("{folder}/exported.csv", r"exported\.csv: [\d,]+ rows"),
    "export products": Command("{folder}/exported.csv", r"exported\.csv: [\d,]+ rows"),
    "export channels": Command("{folder}/exported.csv", r"exported\.csv: [\d,]+ rows"),
    "export kits": Command("{folder}/exported.csv", r"exported\.csv: [\d,]+ rows?"),
    "export listings": Command("{folder}/exported.csv", r"exported\.csv: [\d,]+ rows"),
    "export pools": Command("{folder}/exported.csv", r"exported\.csv: 2 rows"),
    "export outlets": Command("{folder}/exported.csv", r"exported\.csv: 3 rows"),
    "export feeds": Command("{folder}/exported.csv", r"exported\.csv: [\d,]+ rows?"),
    "export stock": Command("{folder}/exported.csv", r"exported\.csv: [\d,]+ rows"),
    "import locations": Command("{folder}/locations.csv", r"created +1"),
    "import products": Command("{folder}/products.csv", r"created +1"),
    "import channels": Command("{folder}/channels.csv", r"created +1"),
    "import kits": Command("{folder}/kits.csv", r"created +1"),
    "import listings": Command("{folder}/listings.csv", r"created +1"),
    "import pools": Command("{folder}/pools.csv", r"created +1"),
    "import outlets": Command("{folder}/outlets.csv", r"created +1"),
    "import feeds": Command("{folder}/feeds.csv", r"created +1"),
    "import stock": Command("{folder}/stock.csv --source stocktake", r"accepted +1"),
    "replay-orders": Command("{folder}/orders.csv --order order --sku sku --quantity units", r"units sold +3"),
}
EXAMPLES = {
    f"availability {SKU}": rf"{SKU} +\d+",
    "allocate": r"shopify/1001: allocated \(held\)",
    "confirm": r"shopify/1001: allocated \(confirmed\)",
    "explain": r"shopify/1001: allocated \(confirmed\)",
    f"stock {SKU}": r"dc-memphis +\d+",
    "shipments": r"store-austin +shopify/1001",
}
"""How the commands begin that code blocks show with all their arguments, in their order, and a line of each output."""
FILES = {
    "locations": "location_id,type,country\nstore-boise,store,US\n",
    "products": "sku,display_name\nNEW-1,New\n",
    "channels": "channel_id,kind\nfair,pos\n",
    "kits": f"sku,components\n{SCARCE},{SKU}:2\n",
    "listings": f"channel_id,item_id,sku,unit_count\nshopify,8112345678901234567,{SKU},6\n",
    "pools": "pool_id,location_ids\nwest,store-seattle|store-denver\n",
    "outlets": "channel_id,outlet_id,pool_id\npos,west,all-stores\n",
    "feeds": "source,role\ntill-austin,observer\n",
    "stock": "sku,location_id,on_hand_count\nTRN-1205-MOS,store-denver,40\n",
    "orders": f"order,sku,units\nE-1,{SKU},2\nE-2,{SKU},1\n",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A service with the sample retailer, as `truestock serve` starts it."""

    address: str
    metrics_address: str
    data: Path
    output: str


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Ends with exit code 0 on Ctrl-C."""
    data = Path(tempfile.mkdtemp(prefix="truestock-data-"))
    # The account that PostgreSQL runs as for root has to reach it.
    data.chmod(0o711)
    flags = ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", "--data-dir", str(data)]
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "serve", *flags], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        output = "".join(itertools.takewhile(lambda line: "Ctrl-C" not in line, process.stdout))
        addresses = re.search(r"gRPC +(\S+)[^$]*?metrics +(\S+)", output)
        assert addresses, output
        yield Server(addresses[1], addresses[2], data, output)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def run(server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs one command as the shell would, with the server that it is a client of."""
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("TRUESTOCK_SERVER", server.address)

    def run_main(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        captured = capsys.readouterr()
        code = caught.value.code
        return Result(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run_main


class Example:
    """What the arguments of a command need, made on demand: `example["held"]` is a new order that is held."""

    _numbers = itertools.count(1)

    def __init__(self, run: Run, server: Server, folder: Path, shop: TikTokShop) -> None:
        self._run, self._server, self._folder, self._shop = run, server, folder, shop

    def __getitem__(self, name: str) -> str:
        value: str = getattr(self, name)()
        return value

    def item(self) -> str:
        return "1729583201114820002"

    def data(self) -> str:
        return str(self._server.data)

    def folder(self) -> str:
        for name, text in FILES.items():
            (self._folder / f"{name}.csv").write_text(text)
        return str(self._folder)

    def access_file(self) -> str:
        return str(self._folder / "access.yaml")

    def shared_access_file(self) -> str:
        assert self._run("access", "add", "shop", "--role", "read", "--file", self.access_file()).code == 0
        return self.access_file()

    def small_rules(self) -> str:
        folder = self._folder / "small"
        folder.mkdir()
        (folder / "routing.yaml").write_text("kind: routing\npolicies: [{name: a, position: 1, rank: [nearest]}]\n")
        return str(folder)

    def order(self) -> str:
        return f"A-{next(self._numbers)}"

    def held(self) -> str:
        return self._allocated()

    def sold(self) -> str:
        return self._allocated("--sold")

    def refused_hold(self) -> str:
        return self._allocated(line=f"{SCARCE}:90000")

    def on_hold(self) -> str:
        return self._allocated("--sold", "--hold-reason", "fraud check")

    def channel_of_sold(self) -> str:
        return self.sold().split("/")[0]

    def connected_channel(self) -> str:
        self.accounts()
        return CHANNEL

    def accounts(self) -> str:
        """An accounts file with a TikTok shop that is connected."""
        file = self._folder / "channels.yaml"
        file.write_text(accounts_text(self._shop))
        flags = ("--accounts", str(file), "--data-dir", self.data())
        assert self._run("channels", "connect", ACCOUNT, "--code", self._shop.tokens.auth_code, *flags).code in (0, 1)
        return str(file)

    def read(self) -> str:
        """An order of a channel that has been read."""
        order_id = self.order()
        asyncio.run(read_by_a_connector(EmbeddedPostgres.running_url(self._server.data), order_id))
        return order_id

    def unreadable(self) -> str:
        """An order of a channel that could not be read."""
        order_id = self.order()
        url = EmbeddedPostgres.running_url(self._server.data)
        asyncio.run(read_by_a_connector(url, order_id, failure="it has no lines"))
        return order_id

    def parcel(self) -> str:
        return self._shipment(self.sold())["shipment_id"]

    def location_of_parcel(self) -> str:
        return self._shipment(self.sold())["location_id"]

    def pickup(self) -> str:
        return self._shipment(self._allocated("--sold", "--pickup", "--pickup-at", "store-austin"))["shipment_id"]

    def shipped(self) -> str:
        order = self.sold()
        self._json("shipment", "ship", self._shipment(order)["shipment_id"])
        return order

    def shipped_parcel(self) -> str:
        return self._shipment(self.shipped())["shipment_id"]

    def transfer(self) -> str:
        return f"T-{next(self._numbers)}"

    def sent_transfer(self) -> str:
        transfer = self.transfer()
        self._json("transfer", "dispatch", transfer, f"{SKU}:2", "--from", "dc-memphis", "--to", "store-austin")
        return transfer

    def sent_to(self) -> str:
        self.sent_transfer()
        return "store-austin"

    def decision(self) -> str:
        timeline = self._json("explain", self.sold())["timeline"]
        return str(timeline[0]["decision_id"])

    def exception(self) -> str:
        order = self._allocated("--sold", line=f"{SCARCE}:90000").split("/")[1]
        listed = self._json("exceptions")
        return str(next(x["exception_id"] for x in listed if (x["order_id"], x["kind"]) == (order, "oversell")))

    def _allocated(self, *flags: str, line: str = f"{SKU}:1") -> str:
        order = self.order()
        self._json("allocate", "--channel", "shopify", "--order", order, "--line", line, "--country", "US", *flags)
        return f"shopify/{order}"

    def _shipment(self, order: str) -> dict[str, str]:
        shipment: dict[str, str] = self._json("explain", order)["allocation"]["shipments"][0]
        return shipment

    def _json(self, *arguments: str) -> Any:
        result = self._run(*arguments, "--json")
        assert result.code == 0, result.err
        return json.loads(result.out)


@pytest.fixture
def example(run: Run, server: Server, tmp_path: Path, shop: TikTokShop, monkeypatch: pytest.MonkeyPatch) -> Example:
    for name, value in environment(shop).items():
        monkeypatch.setenv(name, value)
    return Example(run, server, tmp_path, shop)


@pytest.fixture(scope="module")
def shop() -> Iterator[TikTokShop]:
    with TikTokShop().serving() as shop:
        shop.books.add_warehouse("Dallas")
        yield shop


def test_the_table_of_this_test_has_every_command_that_the_readme_shows_and_no_other() -> None:
    assert set(shown_commands()) == set(COMMANDS)


def test_the_readme_shows_every_command_that_there_is_and_no_other() -> None:
    kinds = ("locations", "products", "channels", "kits", "pools", "outlets", "listings", "feeds", "stock")
    existing = set(existing_commands()) - {"export"} | {f"export {kind}" for kind in kinds}

    assert set(shown_commands()) == existing


def test_commands_in_the_readmes_sentences_exist() -> None:
    named = {text.split()[1] for text in code_spans(README) if re.match("truestock [a-z]", text)}

    assert named <= {name.split()[0] for name in COMMANDS}


@pytest.mark.database
@pytest.mark.parametrize("name", [name for name in COMMANDS if not name.endswith("serve") and name[:6] != "watch "])
def test_a_command_of_the_readme_runs(run: Run, example: Example, name: str) -> None:
    command = COMMANDS[name]
    if name == "exceptions":
        example.exception()
    if name == "history demand":
        example.refused_hold()

    result = run(*name.split(), *arguments_of(command, example))

    assert result.code == command.code, result.err
    assert has_line(command.line, result.out + result.err), result.out + result.err


@pytest.mark.database
@pytest.mark.parametrize("name", [name for name in COMMANDS if name.startswith("watch ")])
def test_a_watch_of_the_readme_prints_changes_until_ctrl_c(server: Server, example: Example, name: str) -> None:
    command = COMMANDS[name]
    program = [sys.executable, "-m", "service", *name.split(), *arguments_of(command, example)]
    with subprocess.Popen(
        [*program, "--server", server.address], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        try:
            assert process.stdout is not None
            for _ in range(60):
                if select.select([process.stdout], [], [], 0.5)[0]:
                    break
                example.sold()
            line = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
        finally:
            process.kill()

    assert process.returncode == command.code
    assert has_line(command.line, line), line


@pytest.mark.database
def test_the_service_of_the_readme_says_where_it_answers(server: Server) -> None:
    assert has_line(COMMANDS["serve"].line, server.output)
    assert has_line(r"sample .*loaded", server.output)


@pytest.mark.database
def test_the_commands_in_the_readmes_code_blocks_run_as_they_stand(run: Run) -> None:
    shown = [line.split("truestock ", 1)[1] for line in code_lines(README) if "truestock " in line.split(" -")[0]]
    assert len(shown) == len(EXAMPLES)

    for arguments, (beginning, line) in zip(shown, EXAMPLES.items(), strict=True):
        result = run(*shlex.split(arguments))

        assert arguments.startswith(beginning)
        assert result.code == 0, result.err
        assert has_line(line, result.out), result.out


@pytest.mark.database
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_the_pages_of_the_readme_answer(server: Server, path: str) -> None:
    address = server.metrics_address.removesuffix("/metrics")
    with urllib.request.urlopen(address + path, timeout=10) as answer:
        assert answer.status == 200
    assert path in README


# Metrics


def test_the_readme_names_every_metric_with_its_labels_and_no_other() -> None:
    metrics = Metrics(CollectorRegistry())
    collectors = [*fields_of(metrics), *_metrics_in(ConnectorMetrics())]
    existing = {name_of(collector): set(collector._labelnames) for collector in collectors}
    cells = itertools.chain(*table_under("## What is measured"), *table_with_header("question"))
    shown = {}
    for text in itertools.chain.from_iterable(map(code_spans, cells)):
        name, _, labels = text.removesuffix("}").partition("{")
        shown[name] = set(labels.split(",")) if labels else None

    assert {f"truestock_{name}" for name in shown} == set(existing)
    assert {
        name: labels for name, labels in shown.items() if labels is not None and existing[f"truestock_{name}"] != labels
    } == {}


def test_every_metric_is_a_field_of_the_class_of_its_noun() -> None:
    registry = CollectorRegistry()
    fields = {name_of(field) for field in fields_of(Metrics(registry))}

    assert {f"{x.name}_total" if x.type == "counter" else x.name for x in registry.collect()} == fields


def fields_of(metrics: Metrics) -> Iterator[MetricWrapperBase]:
    """The metrics of all nouns."""
    for part in vars(metrics).values():
        yield from _metrics_in(part)


def _metrics_in(part: object) -> Iterator[MetricWrapperBase]:
    return (field for field in getattr(part, "__dict__", {}).values() if isinstance(field, MetricWrapperBase))


def name_of(collector: MetricWrapperBase) -> str:
    family = next(iter(collector.describe()))
    return f"{family.name}_total" if family.type == "counter" else family.name


# Calls


def test_the_readme_names_every_call_of_every_service_and_no_other() -> None:
    existing = {
        service.name: {method.name for method in service.methods}
        for module in pkgutil.iter_modules(truestock.v1.__path__)
        if module.name.endswith("_pb2")
        for service in importlib.import_module(f"truestock.v1.{module.name}").DESCRIPTOR.services_by_name.values()
    }
    shown: dict[str, set[str]] = defaultdict(set)
    service = ""
    for row in table_under("## The API"):
        service = row[0] or service
        for name in code_spans(row[1]):
            beginning = name.removesuffix("…")
            named = {method for method in existing[service] if method.startswith(beginning)}
            shown[service] |= named if name.endswith("…") else {name}

    assert shown == existing


# Bounds


def span(value: timedelta) -> str:
    """`90 days`, `4 hours`, `15 minutes`, `1 second`, in the largest unit that divides it."""
    for unit, length in (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        if value % length == timedelta() and value != length:
            return f"{value // length} {unit}s"
    seconds = value // timedelta(seconds=1)
    return f"{seconds} second" + "s" * (seconds != 1)


def size(count: int) -> str:
    """`16 MiB`, `1 GiB`."""
    return f"{count >> 30} GiB" if count >= 1 << 30 else f"{count >> 20} MiB"


BOUNDS = {
    "request": (
        size(limits.REQUEST_BYTES),
        f"{limits.ORDER_LINES:,} order lines",
        f"1 to {limits.LINE_UNITS:,} units",
        f"{limits.ORDER_COMPONENTS:,} with the components of their kits",
        f"{limits.LINE_LOCATIONS} locations that may ship it, {limits.LINE_LOCATIONS} that must not",
        f"a group of {limits.GROUP_LENGTH} characters",
        f"{limits.SHIPMENT_PARCELS} parcels of a shipment",
        f"a carrier of {limits.CARRIER_LENGTH} characters and a tracking number of {limits.TRACKING_NUMBER_LENGTH}",
        f"{limits.SKUS:,} SKUs",
        f"{limits.STOCK_CHANGES:,} stock changes",
        f"{limits.DEMAND_EVENTS:,} events of unmet demand",
        f"{limits.UPSERTS:,} catalog records",
    ),
    "list": (
        f"{limits.PAGE_SIZE_LIMIT:,} entries in a page",
        f"{limits.ALLOCATIONS_PAGE_LIMIT} orders",
        f"examines {limits.EXAMINED:,} entries, or {keyset.EXAMINED_FOR_EACH} for each",
        f"{limits.CATALOG_FILTER} entries in a filter",
        f"{limits.SKUS} SKUs or locations",
        f"{limits.NEAR_SKUS} SKUs to look near ones up for",
        f"{limits.POOLS_PAGE} pools",
        f"{limits.LISTING_ORDERS} orders that use a deleted listing",
        f"newest {limits.LISTING_LINES:,} order lines",
        f"{limits.ORDER_NUMBER_PART} characters of the beginning or end of an order number",
        f"{limits.ORDER_NUMBER_MIDDLE} of a part from its middle",
        f"newest {limits.NUMBERS_SEARCHED:,} orders",
    ),
    "record": (
        f"{limits.ITEM_UNITS:,} units in an item of a channel",
        f"{limits.ITEM_ID_LENGTH} characters of its id",
        f"{limits.KITS:,} kits, {limits.KIT_COMPONENTS} components of one and {limits.KIT_UNITS} units of each",
        f"{limits.COUNTED_UNITS:,} units of one product at one location",
        f"{LEAST_VELOCITY:f} to {limits.VELOCITY_PER_DAY:,.0f} units a day",
        "velocity of 0,",
        f"{limits.MONEY:,}",
        f"{limits.PRODUCT_IMAGES} images and {limits.PRODUCT_ATTRIBUTES} attributes of a product",
        f"{limits.DETAILS_LENGTH:,} characters together",
        f"{limits.HANDLING_MINUTES:,} minutes",
        f"{limits.EARLIEST.year} to {MAXYEAR}",
        f"{span(limits.CLOCK_SKEW)} ahead",
    ),
    "outlets": (
        f"{limits.OUTLETS} of a channel",
        f"{limits.POOL_LOCATIONS:,} locations of a pool",
        f"{limits.ID_LENGTH} characters of an outlet's id, {limits.SOLD_OUTLET_ID_LENGTH} in an order",
        f"{limits.OUTLET_USERS} outlets or orders are named",
        f"newest {limits.IDS_SEARCHED:,} orders",
    ),
    "SKU": (f"{limits.SKU_LENGTH} characters", f"{limits.SOLD_SKU_LENGTH} are kept"),
    "time": (f"{span(limits.CLOCK_SKEW)} ahead",),
    "hold": (
        f"{span(limits.HOLD_SHORTEST)} to {span(limits.HOLD_LONGEST)}",
        f"at most {span(limits.UNPAID_ORDER_LONGEST)}",
        f"{span(limits.HOLD_DEFAULT)} by default",
    ),
    "order on hold": (
        f"at most {span(limits.ORDER_HOLD_LONGEST)} ahead",
        f"{limits.HOLD_REASON_LENGTH} characters",
        f"overdue after {span(limits.ORDER_HOLD_OVERDUE)}",
    ),
    "channel figures": (
        f"{limits.CHANNEL_FIGURES:,} a call",
        f"kept {span(limits.CHANNEL_FIGURE_RETENTION)}",
    ),
    "request to cancel": (
        f"{limits.CANCELLATION_REQUESTS} of an order",
        f"at most {span(limits.CANCELLATION_DEADLINE_LONGEST)} ahead",
        f"{limits.CANCELLATIONS} lines",
    ),
    "batch": (f"{limits.BATCHED_ORDERS:,} orders", f"{limits.TRANSFER_LINES:,} products in a transfer"),
    "unmet demand": (
        f"{limits.SHORTFALLS_A_MINUTE:,} shortfalls of questions",
        f"{span(limits.DEMAND_SUM_LONGEST)}, {limits.DEMAND_SUM_DEFAULT.days} by default",
    ),
    "report": (
        f"{limits.REPORT_LONGEST.days} days, {limits.REPORT_DEFAULT.days} by default",
        f"{limits.REPORT_PERIODS} periods",
        f"{limits.REPORT_GROUPS} groups of a dimension, and {limits.REPORT_ROWS:,} combinations",
        f"{limits.CHANNEL_FILTER} channels and locations in filters",
        f"{limits.REPORT_OVERSELLS} oversells",
        f"{limits.REPORT_SECONDS} seconds",
        f"{limits.REPORTS_WAITING} waiting",
    ),
    "readiness": (
        f"{limits.READINESS_SECONDS} seconds",
        f"{limits.READINESS_WAITING} waiting",
        f"{limits.EXERCISE_SECONDS} seconds to exercise paths",
        f"{limits.ALERT_NAMES:,} alerts",
        f"the last {limits.READINESS_CHECKS} checks",
        f"{limits.CONNECTION_CHECKS} scopes and webhooks",
        f"{limits.CONNECTION_ITEMS} items",
        f"{limits.CONNECTION_TEXT_LENGTH:,} characters",
    ),
    "watch": (
        f"{limits.WATCHED_SKUS:,} SKUs",
        f"{limits.WATCHERS:,} watches of each kind",
        f"every {span(limits.HEARTBEAT_SHORTEST).removeprefix('1 ')} to {span(limits.HEARTBEAT_LONGEST)}",
    ),
    "retention": (
        f"request ids {span(limits.REQUEST_ID_RETENTION)}",
        f"resume tokens of watches {span(limits.RESUME_TOKEN_RETENTION)}",
        f"wait for their order {span(limits.EARLY_CANCELLATION_RETENTION)}",
        f"decisions {Settings.model_fields['decision_retention_days'].default} days",
        f"destinations of orders {Settings.model_fields['destination_retention_days'].default} days",
        f"published to channels {Settings.model_fields['publication_retention_days'].default} days",
        f"histories of rules and of the catalog {Settings.model_fields['catalog_history_retention_days'].default} days",
    ),
    "quarantine": (
        f"{limits.QUARANTINED_CHANGES:,} changes of one source",
        f"{limits.QUARANTINED_SOURCES:,} sources",
    ),
    "id": (
        f"lists {limits.FOUND_IDS}",
        f"end of one among the newest {limits.IDS_SEARCHED:,}",
        f"transfer's among the newest {limits.TRANSFERS_SEARCHED:,}",
    ),
    "queue": (f"{limits.QUEUED_ORDERS:,} orders", f"{limits.CALLS_AT_ONCE:,} calls"),
    "rules": (
        f"{size(MAX_FILE_BYTES)} a file",
        f"{size(MAX_FOLDER_BYTES)} and {MAX_FILES:,} files a folder",
        f"{limits.POLICY_FILES:,} files a request",
        f"{limits.SANDBOX_SECONDS} seconds and {size(limits.SANDBOX_BYTES)} of memory",
        f"{limits.SANDBOXES_AT_ONCE} at once and {limits.SANDBOXES_WAITING} waiting",
        f"more than {limits.SANDBOX_WAIT_SECONDS} seconds",
        f"{limits.POLICY_WARNINGS} warnings listed",
        f"{limits.NAMED_FACTS} facts and {limits.FACT_VALUES:,} values a request",
        f"ends a page after {limits.REPLAY_SECONDS} seconds and counts up to {limits.REPLAYS_COUNTED:,} decisions",
        f"each MiB of a larger folder {limits.SANDBOX_SECONDS_PER_MIB} seconds, {size(limits.SANDBOX_BYTES_PER_MIB)}",
        f"{limits.SANDBOX_WAIT_SECONDS_PER_MIB} seconds of waiting more",
        f"{limits.LISTED_PROBLEMS:,} problems and {limits.LISTED_TEST_RESULTS:,} test results listed",
    ),
    "explanation": (
        f"{MOST_LOCATIONS} ranked locations",
        f"the {MOST_LEFT_OUT} worst-ranked",
        f"{MOST_REPLACEMENTS} plans in which",
        f"{REPLACEMENT_LEVELS:,} stock levels",
        f"{limits.EXPLANATIONS_WAITING} of `validate_only` wait",
        f"and {limits.REPLAYS_WAITING} of stored decisions",
    ),
    "search for a plan": (f"{MAX_STEPS:,} steps", f"{MAX_ROUNDS} rounds"),
    "candidate": (
        f"{limits.FOLDERS_AT_ONCE} folders at once, each within {limits.FOLDER_SECONDS} seconds",
        f"{limits.CANDIDATES} candidates of {size(limits.CANDIDATE_BYTES)} together",
        f"{span(limits.CANDIDATE_RETENTION)} after it was last sent",
        f"latest {limits.POLICY_PERIODS} periods",
        f"{limits.CONTENTS_AT_ONCE} calls at once, and {limits.CONTENTS_WAITING} wait",
        f"{limits.CANDIDATE_PROCESSES} processes answer",
        f"{limits.CANDIDATE_CALLS_WAITING} calls wait",
        f"{limits.CANDIDATE_CALL_SECONDS} seconds of CPU time",
        f"{size(limits.CANDIDATE_MORE_BYTES)} of memory more",
        f"ends after {span(limits.CANDIDATE_IDLE)}",
    ),
}
"""What each row of the README's table of bounds must say. No row says another number."""


def test_the_readmes_bounds_are_those_of_the_code() -> None:
    shown = dict(row[:2] for row in table_with_header("bound"))
    remaining = dict(shown)
    for row, phrases in BOUNDS.items():
        for phrase in phrases:
            assert re.search(rf"(?<![\d,]){re.escape(phrase)}(?!\w)", shown[row]), (row, phrase)
            remaining[row] = remaining[row].replace(phrase, "", 1)

    assert shown.keys() == BOUNDS.keys()
    assert {row: text for row, text in remaining.items() if re.search(r"\d", text)} == {}


# Settings


def test_the_readme_has_every_setting_with_its_flag_and_default_and_no_other() -> None:
    serve = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    flags = {parameter.name: parameter.opts[0] for parameter in serve.params}
    expected = {
        names_of(name, field): (flags.get(name, ""), default_of(field)) for name, field in Settings.model_fields.items()
    }
    shown = {tuple(code_spans(row[0])): (row[1].strip("`"), row[2].strip("`")) for row in table_with_header("setting")}

    assert shown == expected


def test_every_variable_that_the_readme_names_is_read() -> None:
    settings = {name for key, field in Settings.model_fields.items() for name in names_of(key, field)}
    clients = {name for parameter in parameters() for name in [parameter.envvar] if isinstance(name, str)}

    assert set(re.findall(r"\b(?:TRUESTOCK_[A-Z_]+|DATABASE_URL)\b", README)) == settings | clients


def names_of(name: str, field: FieldInfo) -> tuple[str, ...]:
    """The variables of the environment that a setting is read from."""
    if isinstance(field.validation_alias, AliasChoices):
        return tuple(str(choice) for choice in field.validation_alias.choices if str(choice).isupper())
    return (f"{Settings.model_config['env_prefix']}{name}".upper(),)


def default_of(field: FieldInfo) -> str:
    if field.default is None:
        return ""
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)


# The README's text


def shown_commands() -> list[str]:
    """The commands in the first column of the README's table of commands: `transfer a|b` are two."""
    commands = []
    for row in table_with_header("command"):
        for text in code_spans(row[0]):
            commands += _expanded(text.removeprefix("truestock ").split())
    return commands


def _expanded(words: list[str]) -> list[str]:
    """The commands that `exceptions [show|assign]` or `import a|b FILE.csv` stands for; capitals are arguments."""
    names = [""]
    for word in words:
        choices = word.strip("[]")
        if choices.isupper() or choices.endswith(".csv"):
            continue
        longer = [f"{name} {choice}".strip() for name in names for choice in choices.split("|")]
        names = [*names, *longer] if word.startswith("[") else longer
    return names


def existing_commands() -> Iterator[str]:
    """Every command that can be given, and the groups that do something by themselves."""
    for path, command in _walk(typer.main.get_command(app), ()):
        if not hasattr(command, "commands") or (path and command.invoke_without_command):
            yield " ".join(path)


def parameters() -> Iterator[Any]:
    for _, command in _walk(typer.main.get_command(app), ()):
        yield from command.params


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, member in getattr(command, "commands", {}).items():
        yield from _walk(member, (*path, name))


def arguments_of(command: Command, example: Example) -> list[str]:
    return shlex.split(command.arguments.format_map(example))


def has_line(pattern: str, output: str) -> bool:
    return any(re.search(pattern, line) for line in output.splitlines())


def code_spans(text: str) -> list[str]:
    """What stands between single backticks."""
    without_blocks = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return [span.replace("\\|", "|") for span in re.findall(r"`([^`]+)`", without_blocks)]


def code_lines(text: str) -> list[str]:
    """The lines of code blocks."""
    return [line for block in re.findall(r"```\n(.*?)```", text, flags=re.DOTALL) for line in block.splitlines()]


def table_under(heading: str) -> list[list[str]]:
    """The cells of the first table after a heading, without the table's own heading."""
    return _first_table(README.split(f"{heading}\n", 1)[1].splitlines())


def table_with_header(first_word: str) -> list[list[str]]:
    """The cells of the table whose first column has this heading."""
    lines = README.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first_word} |"))
    return _first_table(lines[start:])


def _first_table(lines: Iterable[str]) -> list[list[str]]:
    from_table = itertools.dropwhile(lambda line: not line.startswith("|"), lines)
    rows = list(itertools.takewhile(lambda line: line.startswith("|"), from_table))
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]
