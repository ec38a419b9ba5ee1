"""Places the first orders of the sample retailer before the service accepts calls.

They come through the API, at a server that only this process can reach.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import grpc
import structlog

from service.app.wiring import add_services
from service.dependencies import Dependencies
from service.sample.sample_orders import place_sample_orders

log = structlog.get_logger()


async def place_orders(deps: Dependencies) -> None:
    """Logs what keeps orders from being placed: the sample is there to be looked at, and no reason not to start."""
    server = grpc.aio.server()
    # The background work of these services is never started; that of the service itself does all of it.
    queue, _ = add_services(replace(deps, background=[], upkeep=[]), server)
    with tempfile.TemporaryDirectory(prefix="truestock-sample-") as folder:
        target = f"unix:{Path(folder) / 'socket'}"
        server.add_insecure_port(target)
        await server.start()
        try:
            async with grpc.aio.insecure_channel(target) as channel:
                await place_sample_orders(channel)
        except grpc.aio.AioRpcError as error:
            log.warning(
                "the sample retailer has not got all of its orders", code=error.code().name, error=error.details()
            )
        finally:
            await server.stop(None)
            await queue.close()
