"""Where the service listens, with which certificate, and who may call: checked before anything is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from policies.source.problems import render
from service.auth.access_file import AccessFileError
from service.auth.authentication import Authentication
from service.auth.issuer import KeysError
from service.settings import Address, Settings

if TYPE_CHECKING:
    from service.auth.certificates import CertificateFiles

log = structlog.get_logger(__name__)


class StartError(Exception):
    """The service cannot start. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The addresses of gRPC and of metrics, the certificate of both (None without TLS), and who may call."""

    address: Address
    metrics_address: Address
    certificates: CertificateFiles | None
    authentication: Authentication


def listening(settings: Settings, *, is_worker: bool = False) -> Listening:
    """What the settings say. Raises StartError, also for what would leave the service open to others.

    A worker listens where the first process of the service has found that it may.
    """
    address, metrics_address = _address(settings.address), _address(settings.metrics_address)
    certificates, authentication = _certificate_files(settings), _authentication(settings)
    if is_worker:
        return Listening(address, metrics_address, certificates, authentication)
    for listened, flag in ((address, "--address"), (metrics_address, "--metrics-address")):
        if not listened.is_loopback:
            lacking = [] if certificates else ["TLS (--tls-cert and --tls-key)"]
            if listened is address and not authentication.is_required:
                lacking.append(f"an access file (`truestock access add` makes {settings.access})")
            if lacking:
                _lack(lacking, listened, flag, insecure=settings.insecure)
    if not authentication.is_required:
        log.info("no access file: everybody who can connect is the principal local, with the role admin")
    return Listening(address, metrics_address, certificates, authentication)


def _authentication(settings: Settings) -> Authentication:
    try:
        return Authentication(settings.access)
    except AccessFileError as error:
        text = render(error.problems, {settings.access.name: _text(settings)})
        raise StartError(f"{text}\ncorrect {settings.access}: who may call is not clear") from error
    except (KeysError, OSError) as error:
        raise StartError(f"{settings.access} cannot be used: {error}") from error


def _text(settings: Settings) -> bytes:
    try:
        return settings.access.read_bytes()
    except OSError:
        return b""


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


def _lack(lacking: list[str], address: Address, flag: str, *, insecure: bool) -> None:
    """Raises StartError for an address that other machines reach without what protects it, unless that is accepted."""
    missing = " and ".join(lacking)
    if not insecure:
        raise StartError(
            f"others could read or change what the service knows: {address} is not an address of this machine alone, "
            f"and it lacks {missing}. Add {'both' if len(lacking) > 1 else 'it'}, choose a {flag} "
            f"such as 127.0.0.1:{address.port}, or accept it with --insecure, such as behind a proxy that sees to it"
        )
    log.warning("open to other machines (--insecure)", address=str(address), without=missing)


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise StartError(str(error)) from error
