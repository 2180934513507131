"""The targets that ask who calls: by TLS, by keys of several roles, by certificates."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc

from benchmarks import servers
from cli.embedded import EmbeddedServer
from clients.conformance.languages import ROOT
from tests.certificates import Authority

KEYS = {
    "secure": ("admin", "*", "0"),
    "reader": ("reader", "*", "0"),
    "shopkeeper": ("writer", "shop", "0"),
    "seldom": ("reader", "*", "0.001"),
}
"""By target: the role of its key, the policy it is good for, and the requests a second it allows."""


@contextmanager
def secure(store: EmbeddedServer, folder: Path) -> Iterator[Mapping[str, Mapping[str, str]]]:
    """Targets by name, on a store where policies are published."""
    folder.mkdir()
    authority, stranger = Authority(folder, "authority"), Authority(folder, "stranger")
    ours, client = authority.issue("server"), authority.issue("client")
    keys = {name: _key(store, name, *terms) for name, terms in KEYS.items()}
    settings = {"auth": "required", "tls_cert_file": ours.certificate, "tls_key_file": ours.key}
    mutual = {**settings, "tls_client_ca_file": authority.certificate}
    shown = grpc.ssl_channel_credentials(authority.certificate.read_bytes(), client.key.read_bytes(), client.certificate.read_bytes())
    with (
        servers.serve([store], folder / "secure.log", settings=settings, credentials=shown) as one,
        servers.serve([store], folder / "mutual.log", settings=mutual, credentials=shown) as both,
    ):
        trusted = {"ca_file": str(authority.certificate)}
        key = {"api_key": keys["secure"]}
        certified = {"cert_file": str(client.certificate), "key_file": str(client.key)}
        yield {
            **{name: {"address": one.address, **trusted, "api_key": keys[name]} for name in KEYS},
            "stranger": {"address": one.address, "ca_file": str(stranger.certificate), **key},
            "mutual": {"address": both.address, **trusted, **key, **certified},
            "uncertified": {"address": both.address, **trusted, **key},
        }


def _key(store: EmbeddedServer, name: str, role: str, policy: str, rate: str) -> str:
    """A new key's credential."""
    terms = ["--name", name, "--role", role, "--policy", policy, "--rate", rate, "--redis-url", store.url]
    command = [sys.executable, "-c", "from cli.main import app; app()", "keys", "make", *terms]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
