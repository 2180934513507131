"""Why a call is refused before the service hears of it. Nothing has been done then."""

from __future__ import annotations


class Refused(Exception):
    """The transport refuses; the subclass says why. Its message is written for callers."""


class Draining(Refused):
    """This server is stopping."""

    def __init__(self) -> None:
        super().__init__("this server is stopping; nothing was done")


class TooManyInFlight(Refused):
    """This server handles as many calls as it may."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"this server handles {limit} calls already; nothing was done")


class OutOfTime(Refused):
    """No time was left when work could begin."""

    def __init__(self) -> None:
        super().__init__("no time was left when work could begin; nothing was done")


class Unauthenticated(Refused):
    """Credentials are missing or wrong."""


class PermissionDenied(Refused):
    """The credentials do not allow this."""
