"""What both clients share: their options, and what gRPC is told of them."""

from __future__ import annotations

import ipaddress
import json
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc

Metadata = Sequence[tuple[str, str | bytes]]

RETRIED = {
    "ooml.bandit.v1.BanditService": ("Score", "Reward", "Activate", "BatchScore", "BatchReward"),
    "ooml.bandit.v1.PolicyService": ("ListPolicies", "GetPolicy", "GetEvidence", "ForgetScope"),
}
"""Not ScoreStream: what a stream had asked when it broke, only its caller knows."""
SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": service, "method": method} for service, methods in RETRIED.items() for method in methods],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
_SCHEME = re.compile(r"(dns|ipv4|ipv6):(//[^/]*/)?")


@dataclass(frozen=True, slots=True)
class Tls:
    """How the server is known, and how we are.

    Args:
        ca_file: PEM file of the authorities that are trusted; None: the system's.
        cert_file, key_file: our own certificate, for servers that ask for one; both or neither.
        server_name: the name in the server's certificate, where it is not the one in the address.
    """

    ca_file: Path | str | None = None
    cert_file: Path | str | None = None
    key_file: Path | str | None = None
    server_name: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """The same for gRPC.

        Raises:
            OSError: a file cannot be read.
            ValueError: a certificate without its key, or a key without its certificate.
        """
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("a client certificate needs both cert_file and key_file")
        return grpc.ssl_channel_credentials(_read(self.ca_file or _system_roots()), _read(self.key_file), _read(self.cert_file))


@dataclass(frozen=True, slots=True)
class Options:
    """How a client calls.

    Args:
        deadline_s: of a call that names none; a stream that names none has none.
        channels: connections; calls take turns. A server with several workers spreads connections over them, not calls.
        api_key: an API key or a JWT, sent with every call. Without `tls` only to this machine.
        tls: None: in clear.
        keepalive_s: how often a quiet connection is tried; the server allows once in 10 s.
        keepalive_timeout_s: how long the answer may take before the connection is given up.
        retry: whether calls are tried again while the server is UNAVAILABLE, within their deadline.
    """

    deadline_s: float = 0.5
    channels: int = 1
    api_key: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    keepalive_s: float = 30.0
    keepalive_timeout_s: float = 10.0
    retry: bool = True

    def check(self, target: str) -> None:
        """Raises ValueError if a target must not be called so."""
        if self.channels < 1:
            raise ValueError(f"channels must be at least 1, got {self.channels}")
        if self.api_key and self.tls is None and not is_loopback(target):
            raise ValueError(f"an API key is not sent in clear to {target}: set tls=Tls(), or leave out api_key")

    def arguments(self, target: str) -> list[tuple[str, Any]]:
        """What every channel is made with."""
        arguments: list[tuple[str, Any]] = [
            ("grpc.use_local_subchannel_pool", 1),  # else channels to one address share a connection
            ("grpc.keepalive_time_ms", round(self.keepalive_s * 1000)),
            ("grpc.keepalive_timeout_ms", round(self.keepalive_timeout_s * 1000)),
            ("grpc.http2.ping_timeout_ms", round(self.keepalive_timeout_s * 1000)),  # else gRPC gives an answer 60 s, whatever that says
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.enable_retries", int(self.retry)),
        ]
        if self.retry:
            arguments.append(("grpc.service_config", json.dumps(SERVICE_CONFIG)))
        if self.tls is not None and self.tls.server_name is not None:
            arguments.append(("grpc.ssl_target_name_override", self.tls.server_name))
        if is_loopback(target):
            arguments.append(("grpc.enable_http_proxy", 0))  # what is for this machine does not leave it
        return arguments

    def metadata(self, given: Metadata) -> tuple[tuple[str, str | bytes], ...]:
        """A call's metadata, and who calls."""
        return (*given, ("authorization", f"Bearer {self.api_key}")) if self.api_key else tuple(given)

    def deadline(self, given_s: float | None) -> float:
        """Seconds a call may take."""
        return self.deadline_s if given_s is None else given_s


def is_loopback(target: str) -> bool:
    """Whether all addresses of a gRPC target are on this machine."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    return all(_is_loopback(address) for address in _SCHEME.sub("", target, count=1).split(","))


def _is_loopback(address: str) -> bool:
    try:
        host = urlsplit(f"//{address}").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(file: Path | str | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()


def _system_roots() -> str | None:
    """The system's authorities; None where it keeps them otherwise, and gRPC's own are used."""
    return ssl.get_default_verify_paths().cafile
