"""Where the service listens, and with which certificate: checked before anything is started."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

import structlog

from service.settings import Address, Settings

if TYPE_CHECKING:
    from service.auth.certificates import CertificateFiles

log = structlog.get_logger(__name__)


class StartError(Exception):
    """The service cannot start. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The addresses of gRPC and of metrics, and the certificate of both; None without TLS."""

    address: Address
    metrics_address: Address
    certificates: CertificateFiles | None


def listening(settings: Settings) -> Listening:
    """What the settings say. Raises StartError, also where others could reach a service without TLS."""
    address, metrics_address = _address(settings.address), _address(settings.metrics_address)
    certificates = _certificate_files(settings)
    if certificates is None:
        for listened, flag in ((address, "--address"), (metrics_address, "--metrics-address")):
            _check_only_this_machine(listened, flag, insecure=settings.insecure)
    _check_free(address)
    return Listening(address, metrics_address, certificates)


def _certificate_files(settings: Settings) -> CertificateFiles | None:
    if settings.tls_cert is None or settings.tls_key is None:
        if (settings.tls_cert, settings.tls_key, settings.client_ca) != (None, None, None):
            raise StartError("--tls-cert and --tls-key go together, and --client-ca needs both; name all of them")
        return None
    # Reading certificates takes a fifth of a second to import, which a service without TLS spares.
    from service.auth.certificates import CertificateError, CertificateFiles

    try:
        return CertificateFiles(settings.tls_cert, settings.tls_key, settings.client_ca)
    except CertificateError as error:
        raise StartError(f"TLS cannot be used: {error}") from error


def _check_only_this_machine(address: Address, flag: str, *, insecure: bool) -> None:
    if _is_loopback(address.host):
        return
    if not insecure:
        raise StartError(
            f"others could read and change everything at {address}: it is not an address of this machine alone, and "
            f"there is no TLS; name a certificate with --tls-cert and --tls-key, choose a {flag} such as "
            f"127.0.0.1:{address.port}, or accept it with --insecure, such as behind a proxy that has TLS"
        )
    log.warning("listening without TLS where others may connect (--insecure)", address=str(address))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_free(address: Address) -> None:
    """Raises StartError if the gRPC address is in use, before the database is started."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        socket.create_server((address.host, address.port), family=family).close()
    except OSError as error:
        # Python appends the address as a tuple, which our sentence has already.
        reason, _, _ = (error.strerror or str(error)).partition(" (while attempting")
        raise StartError(f"gRPC cannot be served on {address}: {reason}; choose another --address") from error


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise StartError(str(error)) from error
