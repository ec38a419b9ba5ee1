"""The service's certificate and key for TLS, read again when their files change."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from service.auth.file_content import file_content

log = structlog.get_logger(__name__)

READ_ATTEMPTS = 3
"""How often files that change while they are read are read again at once."""

_Versions = tuple[tuple[int, int, int, int] | None, ...]
"""Of each file its device, number, size and time of change in nanoseconds; None if it cannot be read."""


class CertificateError(Exception):
    """The certificate, its key or the certificates of client authorities cannot be used. The message says why."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the files held together: PEM texts, and the settings of TLS made of them for the metrics port."""

    chain: bytes
    key: bytes
    client_ca: bytes | None
    expires: datetime
    """When the certificate expires."""
    context: ssl.SSLContext

    def for_grpc(self) -> grpc.ServerCertificateConfiguration:
        """The same for gRPC."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.chain)], root_certificates=self.client_ca)


class CertificateFiles:
    """Files with a certificate chain, its private key and, for mutual TLS, the authorities of client certificates.

    A renewed certificate is used from the next connection on. Files that cannot be used, such as a new certificate
    whose key is not there yet, are logged, and the last ones that could be used stay in use. Safe for any number of
    threads: gRPC and the metrics port make connections in threads of their own.
    """

    def __init__(self, chain: Path, key: Path, client_ca: Path | None = None) -> None:
        """Raises CertificateError."""
        self._paths = (chain, key) if client_ca is None else (chain, key, client_ca)
        self._lock = threading.Lock()
        self._versions = self._read_versions()
        self._certificates = _read(*self._paths)
        _warn_of_expiry(self._certificates)

    @property
    def needs_client_certificate(self) -> bool:
        """Whether every caller must show a certificate of the client authorities."""
        return len(self._paths) > 2

    def current(self) -> Certificates:
        """The certificates to use for a new connection."""
        with self._lock:
            versions = self._read_versions()
            if versions != self._versions:
                self._read_changed(versions)
            return self._certificates

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """The credentials of a gRPC server, which looks for changed files before each handshake."""
        used = self._certificates

        def changed() -> grpc.ServerCertificateConfiguration | None:
            nonlocal used
            current = self.current()
            if current is used:
                return None
            used = current
            return current.for_grpc()

        return grpc.dynamic_ssl_server_credentials(
            used.for_grpc(),
            changed,  # type: ignore[arg-type]  # None means unchanged, which the type stubs do not say
            require_client_authentication=self.needs_client_certificate,
        )

    def _read_changed(self, versions: _Versions) -> None:
        for _ in range(READ_ATTEMPTS):
            try:
                certificates = _read(*self._paths)
            except CertificateError as error:
                log.error("changed certificate files are not used", problem=str(error))
                self._versions = versions
                return
            read_versions, versions = versions, self._read_versions()
            if read_versions == versions:
                # Nothing was replaced meanwhile, so what was read belongs together.
                self._certificates, self._versions = certificates, versions
                log.info("certificate files reloaded", expires=certificates.expires.isoformat())
                _warn_of_expiry(certificates)
                return

    def _read_versions(self) -> _Versions:
        return tuple(_version(path) for path in self._paths)


def _version(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _read(chain_path: Path, key_path: Path, client_ca_path: Path | None = None) -> Certificates:
    """Raises CertificateError, with the file that is wrong and why."""
    chain, key = _bytes(chain_path), _bytes(key_path)
    client_ca = None if client_ca_path is None else _bytes(client_ca_path)
    first = _certificates(chain, chain_path)[0]
    try:
        private_key = load_pem_private_key(key, password=None)
    except TypeError as error:
        raise CertificateError(
            f"the key {key_path} needs a password, which the service does not ask for; write it without one, readable "
            "for the service's user only"
        ) from error
    except ValueError as error:
        raise CertificateError(f"{key_path} holds no private key in PEM format") from error
    if _public(private_key.public_key()) != _public(first.public_key()):
        raise CertificateError(f"the key {key_path} does not belong to the certificate {chain_path}")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(chain_path, key_path)
        if client_ca is not None and client_ca_path is not None:
            _certificates(client_ca, client_ca_path)
            context.load_verify_locations(cadata=client_ca.decode("ascii", "replace"))
            context.verify_mode = ssl.CERT_REQUIRED
    except (ssl.SSLError, OSError) as error:
        raise CertificateError(f"{chain_path} and {key_path} cannot be used for TLS: {error}") from error
    return Certificates(chain, key, client_ca, first.not_valid_after_utc, context)


def _bytes(path: Path) -> bytes:
    try:
        return file_content(path)
    except OSError as error:
        raise CertificateError(f"{path} cannot be read: {error.strerror or error}") from error


def _certificates(content: bytes, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise CertificateError(f"{path} holds no certificate in PEM format") from error


def _public(key: object) -> bytes:
    """A public key as bytes that two equal keys share."""
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


def _warn_of_expiry(certificates: Certificates) -> None:
    if certificates.expires <= datetime.now(UTC):
        log.warning("the certificate has expired: callers will refuse it", expired=certificates.expires.isoformat())
