"""What drivers and servers throw, in the words of the port; their own words never reach a caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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

_REFUSALS = ("MISCONF", "BUSY", "NOREPLICAS", "UNKILLABLE", "NOGOODSLAVE", "INPROG")


@contextmanager
def unavailable() -> Iterator[None]:
    """Turns whatever means "the store did not answer, or cannot keep what it was told" into `Unavailable`; the rest are our mistakes.

    Raises:
        Unavailable: the driver's error is its cause.
    """
    try:
        yield
    except (OutOfMemoryError, ReadOnlyError, NoPermissionError) as error:
        raise Unavailable("the store cannot keep anything just now") from error
    except TimeoutError as error:
        raise Unavailable("the store did not answer in time") from error
    except (ConnectionError, RedisClusterException, ClusterError, TryAgainError, InvalidResponse, OSError) as error:
        raise Unavailable("the store cannot be reached") from error
    except RuntimeError as error:
        if _CLOSED not in str(error):
            raise
        raise Unavailable("the store cannot be reached") from ConnectionError(str(error))
    except ResponseError as error:
        if not str(error).startswith(_REFUSALS):
            raise
        raise Unavailable("the store cannot keep anything just now") from error
