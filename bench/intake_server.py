"""The intake of connectors in a process of its own, beside a bare route that stores a key with one statement."""

from __future__ import annotations

import os
import socket
import sys

import uvicorn
import uvloop
from cryptography.fernet import Fernet, MultiFernet
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.intake_deliveries import ACCOUNT, SECRETS
from service.channels.accounts import Account, SecretSource
from service.channels.connector_metrics import ConnectorMetrics
from service.channels.intake import Intake
from service.channels.platforms import installed_platforms
from service.channels.running_account import RunningAccount
from service.channels.store import schema
from service.channels.store.account_states import StoredTokens
from service.channels.store.connector_store import ConnectorStore
from service.channels.truestock_api import TruestockApi
from service.cli.client import open_channel

NOBODY = "127.0.0.1:9"
"""Where no service answers: webhooks are taken all the same."""
_BARE = "INSERT INTO bare_delivery VALUES ($1) ON CONFLICT DO NOTHING"


async def _serve(url: str) -> None:
    await schema.migrate(url)
    store = await ConnectorStore.open(url)
    await store.pool.rows("CREATE TABLE IF NOT EXISTS bare_delivery (delivery_key text PRIMARY KEY)")

    async def bare(request: Request) -> Response:
        body = await request.body()
        await store.pool.rows(_BARE, str(hash(body)))
        return Response("ok\n")

    async with open_channel(NOBODY) as channel:
        running = _running(store, TruestockApi(channel, ACCOUNT_OF_BENCH))
        app = Intake({ACCOUNT: running}, store.inbox, store.states, ConnectorMetrics()).app()
        app.router.routes.append(Route("/bare", bare, methods=["POST"]))
        config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, lifespan="off")
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        sys.stdout.write(f"127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        await uvicorn.Server(config).serve(sockets=[listener])


os.environ.update(SECRETS)
ACCOUNT_OF_BENCH = Account(
    ACCOUNT,
    "tiktok_shop",
    "tiktok_shop",
    "1",
    "http://127.0.0.1:1",
    {name.lower(): SecretSource("env", name) for name in SECRETS},
)


def _running(store: ConnectorStore, api: TruestockApi) -> RunningAccount:
    platform = installed_platforms()["tiktok_shop"]
    cipher = MultiFernet([Fernet(Fernet.generate_key())])
    tokens = StoredTokens(store.pool, cipher, ACCOUNT_OF_BENCH, platform.refresh, expires="access_expires")
    return RunningAccount(ACCOUNT_OF_BENCH, platform, platform.open(ACCOUNT_OF_BENCH, tokens), tokens, api)


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))
