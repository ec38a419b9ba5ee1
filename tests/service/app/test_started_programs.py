"""Programs that a service starts while it answers calls."""

import subprocess
import sys

STARTS_A_PROGRAM = """
import service
import asyncio, grpc, uvloop

async def main():
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await channel.channel_ready()
        process = await asyncio.create_subprocess_exec("/bin/sh", "-c", "exit 3")
        print(await process.wait())
    await server.stop(None)

uvloop.run(main())
"""


def test_grpc_does_nothing_in_a_program_that_the_event_loop_starts() -> None:
    """gRPC tells on stderr when its handlers of fork() run, or are skipped, in a process that has calls."""
    command = [sys.executable, "-c", STARTS_A_PROGRAM]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    assert ran.stdout == "3\n"
    assert "fork" not in ran.stderr
