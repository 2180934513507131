"""Why a call is refused before the service hears of it. Nothing has been done then."""

from __future__ import annotations


class Refused(Exception):
    """The transport refuses; the subclass says why. Its message is written for callers.

    Args:
        why: by which such refusals are counted; empty: they are not.
    """

    why: str = ""


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
    """Credentials are missing or wrong. Which of it, callers are not told."""

    def __init__(
        self, message: str = "send a credential that is good now, as `authorization: Bearer CREDENTIAL`", why: str = "missing"
    ) -> None:
        super().__init__(message)
        self.why = why


class PermissionDenied(Refused):
    """The credentials do not allow this."""

    why = "role"


class RateLimited(Refused):
    """The caller has called as often as its credential allows."""

    why = "rate"

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("this credential has been used as often as its rate allows; nothing was done")
        self.retry_after_s = retry_after_s
