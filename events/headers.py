"""What the bus carries beside an event's bytes: its id, where it lies in the outbox, why it was put aside. As headers of NATS."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Mapping
from urllib.parse import quote, unquote

from events.bus import Message, Origin
from events.identity import ID_BYTES

ID = "Nats-Msg-Id"
"""By which JetStream knows a message that comes again."""
ORIGIN = "Ooml-Origin"
"""``shard entry part parts``."""
WHY = "Ooml-Why"

_AS_THEY_ARE = "".join(sorted(set(string.printable) - set(string.whitespace) - {"%"}))
_ORIGIN = re.compile(r"(\d{1,3}) (\d{1,20}-\d{1,20}) (\d{1,9}) (\d{1,9})", re.ASCII)
_LONGEST_WHY = 500


def headers_of(message: Message) -> dict[str, str]:
    """Headers that a message travels with. What no header can hold (line ends, blanks at the ends) goes as ``%XX``."""
    headers = {ID: _quoted(message.id)}
    if (origin := message.origin) is not None:
        headers[ORIGIN] = f"{origin.shard} {origin.entry} {origin.part} {origin.parts}"
    if message.why is not None:
        headers[WHY] = _quoted(message.why[:_LONGEST_WHY])
    return headers


def message_of(subject: str, body: bytes, headers: Mapping[str, str] | None) -> Message:
    """The message that came, from us or from anybody. Without an id it gets one made of what it holds, the same whenever it comes."""
    headers = headers or {}
    why = headers.get(WHY)
    name = unquote(headers.get(ID, ""))
    return Message(subject, name or _made_of(subject, body), body, _origin(headers.get(ORIGIN)), None if why is None else unquote(why))


def _quoted(text: str) -> str:
    # Most are plain, and looking is cheaper than quoting.
    return text if text.isalnum() and text.isascii() else quote(text, safe=_AS_THEY_ARE)


def _origin(text: str | None) -> Origin | None:
    match = _ORIGIN.fullmatch(text) if text else None
    if match is None:
        return None
    shard, part, parts = int(match[1]), int(match[3]), int(match[4])
    return Origin(shard, match[2], part, parts) if shard < 256 and part < parts else None


def _made_of(subject: str, body: bytes) -> str:
    return hashlib.blake2b(subject.encode() + b"\0" + body, digest_size=ID_BYTES).hexdigest()
