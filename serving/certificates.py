"""The files a server speaks TLS with: read together, and told in words when they are of no use. Knows nothing of gRPC."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path


class BadCertificates(Exception):
    """The files cannot be used; the message names the file and what is wrong, and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where they lie, all in PEM.

    Args:
        certificate: the server's, then those between it and the root.
        key: its private key, without a passphrase.
        client_ca: roots of the clients' certificates; None: clients need none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Certificates:
    """What they hold."""

    chain: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None


def read(files: TlsFiles) -> Certificates:
    """What the files hold now, whether or not it is of use.

    Raises:
        BadCertificates: one cannot be read.
    """
    return Certificates(_bytes(files.certificate), _bytes(files.key), None if files.client_ca is None else _bytes(files.client_ca))


def checked(files: TlsFiles) -> Certificates:
    """What the files hold, once it is known to belong together.

    Raises:
        BadCertificates: also when they change just now; then somebody is writing them, and they are to be read again later.
    """
    found = read(files)
    _check_certificates(files.certificate, found.chain)
    _check_key(files)
    if files.client_ca is not None and found.client_ca is not None:
        _check_certificates(files.client_ca, found.client_ca)
    if read(files) != found:  # the key was checked where it lies, not as it was read
        raise BadCertificates(f"{files.certificate} and {files.key} are being written")
    return found


def _check_certificates(file: Path, pem: bytes) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=pem.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise BadCertificates(f"{file} holds no certificate in PEM, or one that is cut off") from None


def _check_key(files: TlsFiles) -> None:
    def passphrase() -> str:
        raise BadCertificates(f"{files.key} has a passphrase, and nobody is there to type it; take it off with `openssl pkey`")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.certificate, files.key, passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise BadCertificates(f"{files.key} is not the key of the certificate in {files.certificate}") from None
        raise BadCertificates(f"{files.key} holds no private key in PEM, or one that is cut off") from None
    except OSError as error:
        raise BadCertificates(f"{files.key} cannot be read: {error.strerror}") from None


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadCertificates(f"{file} cannot be read: {error.strerror}") from None
