"""Who makes a call, whether they may, and what it costs them: asked of every call, and of every request of a stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

import grpc

from serving.access.caller import ANYBODY, Caller
from serving.access.doorman import Doorman, Stranger
from serving.access.rates import Meter
from serving.service.errors import FieldViolation, InvalidRequest, PolicyNotAllowed
from serving.transport.errors import PermissionDenied, RateLimited, Unauthenticated

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]
Metadata = Callable[[], Mapping[str, str | bytes]]
Gate = Callable[[str, Metadata], Caller | None]
"""Given a call's method and, if it asks, metadata: who is calling; None: nobody was asked for a credential.
Raises Unauthenticated or PermissionDenied if they may not call it."""

CALLER: ContextVar[Caller] = ContextVar("CALLER", default=ANYBODY)
"""Whoever makes the call that is being handled; set anew in the task of each call."""


def asking_for_credentials(doorman: Doorman, before: Gate) -> Gate:
    """A gate for callers whom a doorman knows and whose role allows the method.

    Args:
        before: the gate that is passed first.
    """

    def gate(method: str, metadata: Metadata) -> Caller:
        before(method, metadata)
        try:
            caller = doorman.caller(str(metadata().get("authorization", "")))
        except Stranger as stranger:
            raise Unauthenticated(why=stranger.why) from None
        if not caller.may_call(method):
            raise PermissionDenied(f"a credential of the role {caller.role.value} does not allow {method.rpartition('/')[2]}")
        return caller

    return gate


def forbidden(policy: str) -> PolicyNotAllowed:
    """What to tell a caller who may not work with a policy, be there one of that name or not."""
    return PolicyNotAllowed(
        f"this credential does not allow the policy {policy!r}" if policy else "this credential does not allow all policies"
    )


class Admission:
    """Lets calls begin.

    Args:
        gate: who may call; None: anybody.
    """

    def __init__(self, gate: Gate | None) -> None:
        self._gate = gate

    def admit(self, method: str, context: Context) -> Caller | None:
        """Who is calling; None: nobody was asked.

        Raises:
            Unauthenticated, PermissionDenied, and what else the gate raises.
        """
        if self._gate is None:
            return None
        caller = self._gate(method, lambda: dict(context.invocation_metadata() or ()))
        if caller is not None:
            CALLER.set(caller)
        return caller

    def begin(self, method: str, context: Context, request: Any, work: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """Begin the work of a request whose caller may call the method, with the policy it names, and as often.

        A request that names no policy of its own, but one per item or a decision's, is let in: what its items may is for its handler.

        Raises:
            As `admit`, and PolicyNotAllowed. The work raises RateLimited.
        """
        caller = self.admit(method, context)
        if caller is None:
            return work()
        policy: str | None = getattr(request, "policy", None)
        if policy is not None and not caller.allows(policy):
            raise forbidden(policy)
        if caller.meter is None:
            return work()
        cost = _cost(request)
        return work() if caller.meter.take(cost) else _paid(caller.meter, cost, work)


async def _paid(meter: Meter, cost: int, work: Callable[[], Awaitable[T]]) -> T:
    if cost > meter.rate.burst:
        raise InvalidRequest([FieldViolation("requests", f"this credential's rate allows at most {meter.rate.burst} at once, got {cost}")])
    wait_s = await meter.pay(cost)
    if wait_s:
        raise RateLimited(wait_s)
    return await work()


def _cost(request: Any) -> int:
    """A batch counts as its items."""
    return max(1, len(getattr(request, "requests", ())))
