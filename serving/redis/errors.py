"""What drivers and servers throw, in the words of the port; their own words never reach a caller."""

from __future__ import annotations

from redis.exceptions import (
    ClusterError,
    ConnectionError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

from serving.ports import Unavailable

_CLOSED = "the handler is closed"
"""What uvloop says, in a bare RuntimeError, when something is written to a connection that has just been lost: nothing was sent."""

_NO_DATABASE = "DB index is out of range"
_REFUSALS = ("MISCONF", "BUSY", "NOREPLICAS", "UNKILLABLE", "NOGOODSLAVE", "INPROG")


class unavailable:  # noqa: N801  read as `with unavailable():`; a class, since a generator costs each call a microsecond
    """Turns whatever means "the store did not answer, or cannot keep what it was told" into `Unavailable`; the rest are our mistakes.

    Raises:
        Unavailable: the driver's error is its cause.
    """

    def __enter__(self) -> None:
        """Nothing is wrong yet."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Something may be wrong."""
        if error is not None and (meant := _meaning(error)) is not None:
            raise Unavailable(meant) from (ConnectionError(str(error)) if isinstance(error, RuntimeError) else error)


def refusal(error: Exception) -> Exception:
    """What the port says of an error that stands for an answer, the error its cause; the error itself, when it is our mistake."""
    meant = _meaning(error)
    if meant is None:
        return error
    refused = Unavailable(meant)
    refused.__cause__ = error
    return refused


def _meaning(error: BaseException) -> str | None:
    """What a driver's error says of the store; None: nothing."""
    if isinstance(error, (OutOfMemoryError, ReadOnlyError, NoPermissionError)):
        return "the store cannot keep anything just now"
    if isinstance(error, TimeoutError):
        return "the store did not answer in time"
    if isinstance(error, (ConnectionError, RedisClusterException, ClusterError, TryAgainError, InvalidResponse, OSError)):
        return "the store cannot be reached"
    if isinstance(error, RuntimeError) and _CLOSED in str(error):
        return "the store cannot be reached"
    if isinstance(error, ResponseError) and str(error).startswith(_NO_DATABASE):
        return "the store has no database of the number in its URL"
    if isinstance(error, ResponseError) and str(error).startswith(_REFUSALS):
        return "the store cannot keep anything just now"
    return None
