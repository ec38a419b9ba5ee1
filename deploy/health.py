"""Exits with 0 if the service beside it is ready, by gRPC's health service; else says why not and exits with 1.

    python health.py [HOST:PORT]

Without an argument it asks the port of TRUESTOCK_ADDRESS on this machine. With TRUESTOCK_TLS_CERT it uses TLS and
trusts that certificate alone, which must name `localhost`; where callers must show a certificate
(TRUESTOCK_CLIENT_CA), ask /readyz instead.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

SECONDS = 3


def main(arguments: list[str]) -> int:
    """The exit code."""
    port = os.environ.get("TRUESTOCK_ADDRESS", "127.0.0.1:50051").rpartition(":")[2]
    address = arguments[0] if arguments else f"localhost:{port}"
    with _channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        except grpc.RpcError as error:
            print(f"{address} does not answer: {error.code().name}")
            return 1
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        print(f"{address} is not ready")
        return 1
    return 0


def _channel(address: str) -> grpc.Channel:
    certificate = os.environ.get("TRUESTOCK_TLS_CERT")
    if not certificate:
        return grpc.insecure_channel(address)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(Path(certificate).read_bytes()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
