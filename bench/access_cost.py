"""What mutual TLS and tokens cost: the same calls with both and with neither, and callers beside refused ones."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trustme

from bench.bench_calls import ALLOCATE, CHECK, HEALTH, REFUSED, CallStream
from bench.bench_report import Ratio, Report, ratio
from bench.bench_retailer import BenchRetailer, open_retailer
from bench.cpu_meter import MeteredServer, cpu_ratio, postgres_meter
from bench.load_generator import Credentials, LoadGenerator, LoadTask, running_generator
from bench.product_server import running_product
from bench.rounds import Figures, Pace, Variant, run_in_turns
from service.auth.tokens import digest_of, new_token

NAME = "access"
PACE = Pace(rounds=5, seconds=2.0)
CALLERS = 64
GOOD_CALLERS = 8
HOT = "HOT"
_LOOK, _ORDER, _REFUSED = "CheckAvailability", "AllocateOrder", "a refused call"
_HEALTH, _GOOD = "a health check", "8 callers"
_SECURE = "mTLS and token"
_ACCESS = "principals:\n  - {{name: shop, roles: [read, allocate], tokens: [{{sha256: {digest}}}]}}\n"


@dataclass(frozen=True, slots=True)
class _Files:
    """The settings of a service with TLS and an access file, and what its callers need."""

    settings: dict[str, str]
    credentials: Credentials


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Calls a second and CPU time with and without; p99 beside a flood of refused calls. Raises WrongAnswer."""
    with tempfile.TemporaryDirectory() as folder:
        files = _make_files(Path(folder))
        async with running_generator() as generator, running_generator() as flood, open_retailer(url) as retailer:
            await retailer.add_products([HOT])
            async with running_product(url) as plain, running_product(url, settings=files.settings) as secure:
                servers = {
                    "neither": MeteredServer(generator, plain.address, await postgres_meter(plain.pid, url), retailer),
                    _SECURE: MeteredServer(
                        generator, secure.address, await postgres_meter(secure.pid, url), retailer, files.credentials
                    ),
                }
                variants = _variants(servers) | _flooded(servers[_SECURE], flood)
                figures = await run_in_turns(variants, pace, verify=retailer.verify)
        return await _report(retailer, pace, figures)


async def _report(retailer: BenchRetailer, pace: Pace, figures: Mapping[str, list[Figures]]) -> Report:
    return Report(
        name=NAME,
        pace=pace,
        variants=figures,
        ratios=_ratios(figures),
        settings={**await retailer.durability_settings(), "callers": CALLERS},
        verified=await retailer.verify(),
    )


def _variants(servers: Mapping[str, MeteredServer]) -> dict[str, Variant]:
    variants: dict[str, Variant] = {}
    for method, name in ((CHECK, _LOOK), (ALLOCATE, _ORDER), (HEALTH, _HEALTH), (REFUSED, _REFUSED)):
        for access, server in servers.items():
            # Without an access file nobody is refused.
            if method != REFUSED or access == _SECURE:
                variants[f"{name}, {access}"] = partial(server.run, CallStream("calls", method, [HOT], callers=CALLERS))
    return variants


def _flooded(server: MeteredServer, flood: LoadGenerator) -> dict[str, Variant]:
    """Few callers who may call, alone and beside many of another process who are refused."""
    good = CallStream("good", CHECK, [HOT], callers=GOOD_CALLERS)
    refused = LoadTask(
        server.address, 0, [CallStream("flood", REFUSED, callers=CALLERS)], credentials=server.credentials
    )

    async def beside_flood(seconds: float) -> Figures:
        return await server.run_beside(good, seconds, flood, refused)

    return {f"{_GOOD} alone": partial(server.run, good), f"{_GOOD} beside {CALLERS} refused": beside_flood}


def _ratios(figures: Mapping[str, Sequence[Figures]]) -> list[Ratio]:
    def both(name: str) -> tuple[Sequence[Figures], Sequence[Figures]]:
        return figures[f"{name}, {_SECURE}"], figures[f"{name}, neither"]

    beside, alone = figures[f"{_GOOD} beside {CALLERS} refused"], figures[f"{_GOOD} alone"]
    return [
        ratio("check_secure_vs_plain", *both(_LOOK), "calls_per_second", at_least=0.85),
        ratio("allocate_secure_vs_plain", *both(_ORDER), "calls_per_second", at_least=0.85),
        cpu_ratio("check_secure_cpu_vs_plain", *both(_LOOK)),
        cpu_ratio("allocate_secure_cpu_vs_plain", *both(_ORDER)),
        ratio(
            "refused_cpu_vs_health_check",
            figures[f"{_REFUSED}, {_SECURE}"],
            figures[f"{_HEALTH}, {_SECURE}"],
            "server_cpu_us_per_call",
            at_most=1.1,
        ),
        ratio("good_p99_beside_refused_vs_alone", beside, alone, "p99_ms", at_most=2.0),
    ]


def _make_files(folder: Path) -> _Files:
    authority, token = trustme.CA(), new_token()
    server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("adapter.shop")
    contents = {
        "ca.pem": authority.cert_pem.bytes(),
        "server.pem": server.cert_chain_pems[0].bytes(),
        "server.key": server.private_key_pem.bytes(),
        "client.pem": client.cert_chain_pems[0].bytes(),
        "client.key": client.private_key_pem.bytes(),
        "access.yaml": _ACCESS.format(digest=digest_of(token).hex()).encode(),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    paths = {name: str(folder / name) for name in contents}
    return _Files(
        {
            "tls_cert": paths["server.pem"],
            "tls_key": paths["server.key"],
            "client_ca": paths["ca.pem"],
            "access": paths["access.yaml"],
        },
        Credentials(paths["ca.pem"], paths["client.pem"], paths["client.key"], token),
    )
