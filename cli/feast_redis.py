"""Where Redis is, as Feast wants to be told."""

from __future__ import annotations

import json
import struct
from typing import Any

from redis.connection import SSLConnection, parse_url


def feast_redis(url: str) -> str:
    """A URL in Feast's notation: host and port, then options whose values are JSON."""
    options: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call]
    host, port = options.pop("host"), options.pop("port", 6379)
    if options.pop("connection_class", None) is SSLConnection:
        options["ssl"] = True
    return ",".join([f"{host}:{port}", *(f"{name}={_value(value)}" for name, value in options.items())])


def _value(value: object) -> str:
    """As JSON in which no character of a text stands for itself: it passes through a YAML file and is split at commas before it is read."""
    if isinstance(value, str):
        return '"' + "".join(f"\\u{unit:04x}" for (unit,) in struct.iter_unpack(">H", value.encode("utf-16-be"))) + '"'
    return json.dumps(value)
