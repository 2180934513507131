"""Certificates for tests, made by openssl: authorities, and what they sign."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, both PEM files."""

    certificate: Path
    key: Path

    def put(self, certificate: Path, key: Path) -> None:
        """Write them where a server looks for them, over what lies there."""
        certificate.write_bytes(self.certificate.read_bytes())
        key.write_bytes(self.key.read_bytes())


class Authority:
    """One that signs for 127.0.0.1."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self.certificate = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        self._extensions = folder / f"{name}.extensions"
        self._extensions.write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        _openssl("req", "-x509", *_NEW_KEY, "-keyout", self._key, "-out", self.certificate, "-days", "2", "-subj", f"/CN={name}")

    def issue(self, name: str) -> Issued:
        """A certificate for whoever the name says, and its key."""
        issued = Issued(self._folder / f"{self._name}-{name}.pem", self._folder / f"{self._name}-{name}.key")
        request = self._folder / f"{self._name}-{name}.csr"
        _openssl("req", "-new", *_NEW_KEY, "-keyout", issued.key, "-out", request, "-subj", f"/CN={name}")
        signer: list[str | Path] = ["-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial", "-extfile", self._extensions]
        _openssl("x509", "-req", "-in", request, *signer, "-out", issued.certificate, "-days", "2")
        return issued


def with_passphrase(key: Path, passphrase: str) -> None:
    """Lock a key."""
    locked = key.with_suffix(".locked")
    _openssl("pkey", "-in", key, "-aes256", "-passout", f"pass:{passphrase}", "-out", locked)
    locked.replace(key)


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=30)
