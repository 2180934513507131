"""Whatever is done to it in whatever order, Valkey answers as memory does, and learns the same to the last bit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, get_args

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule, run_state_machine_as_test

from cli.embedded import EmbeddedServer
from policies.spec import Aggregate
from policies.types import DecisionId, ScopeId
from serving.events import Event
from serving.ports import Decision, StoreError
from tests.servers import flush
from tests.store.build import LONG, Harness, decision, policy, same
from tests.store.conftest import client_of, in_memory, on_redis

SCOPES = ("s", "t:u", "ü ✓")
VALUES = st.sampled_from([-1.0, -0.0, 0.1, 1.0, 3.7])
CLOCK_FIELDS = ("at_us", "decided_at_us", "deadline_us")


class Lockstep(RuleBasedStateMachine):
    """Memory and Valkey side by side. Times differ, so windows are over at once or not at all."""

    decisions = Bundle("decisions")
    server: EmbeddedServer

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stores: list[Harness] = [in_memory(), self.runner.run(self._valkey())]
        self.generations = dict.fromkeys(SCOPES, 0)
        self.made: dict[DecisionId, Decision] = {}

    async def _valkey(self) -> Harness:
        flush(self.server)
        self.client = client_of(self.server)
        return on_redis(self.client)

    def teardown(self) -> None:
        self.runner.run(self.client.aclose())
        self.runner.close()

    def both(self, call: Any) -> Any:
        """What both answer, once it is seen to be the same."""
        memory, valkey = (self.runner.run(_answer(call(at))) for at in self.stores)
        assert memory == valkey
        return valkey

    @initialize(
        default=st.none() | VALUES,
        aggregate=st.sampled_from(get_args(Aggregate)),
        window=st.sampled_from([0.0, LONG]),
        arms=st.integers(1, 3),
    )
    def declare(self, default: float | None, aggregate: Aggregate, window: float, arms: int) -> None:
        self.policy = policy(default=default, aggregate=aggregate, window_s=window, max_arms=arms)

    @rule(
        target=decisions,
        scope=st.sampled_from(SCOPES),
        arm=st.sampled_from("abcd"),
        deferred=st.booleans(),
        request_id=st.none() | st.sampled_from(["q", "r"]),
        x=st.tuples(VALUES, VALUES),
        stale=st.integers(0, 9),
    )
    def decide(self, scope: str, arm: str, deferred: bool, request_id: str | None, x: tuple[float, float], stale: int) -> Any:
        made = decision(self.policy, arm, scope=scope, deferred=deferred, x=x)
        generation = self.generations[scope] + (stale == 0)

        async def call(at: Harness) -> tuple[DecisionId, bool, bool, bytes]:
            recorded = await at.decide(self.policy, made, request_id=request_id, body_hash=arm.encode(), generation=generation)
            assert same(recorded.decision, made) or recorded.replayed
            return recorded.decision.decision_id, recorded.replayed, recorded.reward_deadline is None, recorded.body_hash

        self.both(call)
        self.made[made.decision_id] = made
        return multiple(made.decision_id)

    @rule(of=decisions)
    def decide_again(self, of: DecisionId) -> None:
        made = self.made[of]

        async def call(at: Harness) -> tuple[bool, bool]:
            recorded = await at.decide(self.policy, made, generation=self.generations[made.scope])
            return recorded.replayed, recorded.reward_deadline is None

        self.both(call)

    @rule(of=decisions)
    def activate(self, of: DecisionId) -> None:
        async def call(at: Harness) -> bool:
            return await at.store.activate(self.policy, of) > 0

        self.both(call)

    @rule(of=decisions, value=VALUES, reward_id=st.none() | st.sampled_from(["1", "2", "3", "é"]))
    def reward(self, of: DecisionId, value: float, reward_id: str | None) -> None:
        self.both(lambda at: at.reward(self.policy, of, value, reward_id))

    @rule(scope=st.sampled_from(SCOPES), often=st.integers(0, 4))
    def forget(self, scope: str, often: int) -> None:
        if often == 0:
            self.both(lambda at: at.store.forget(self.policy.spec.name, [self.policy.namespace], ScopeId(scope)))
            self.generations[scope] += 1

    @rule(scope=st.sampled_from(SCOPES), request_id=st.sampled_from(["q", "r"]))
    def read(self, scope: str, request_id: str) -> None:
        async def call(at: Harness) -> tuple[int, DecisionId | None]:
            snapshot = await at.read(self.policy, "a", "z", scope=scope, request_id=request_id)
            return snapshot.generation, snapshot.recorded and snapshot.recorded.decision.decision_id

        self.both(call)

    @invariant()
    def evidence_is_the_same(self) -> None:
        async def call(at: Harness) -> list[Any]:
            found = [await at.store.evidence(self.policy, ScopeId(scope)) for scope in SCOPES]
            return [(evidence.arms, evidence.rows[:, [1, *range(3, 11)]].tolist()) for evidence in found]

        if hasattr(self, "policy"):
            self.both(call)

    def check_logs(self) -> None:
        async def call(at: Harness) -> list[Any]:
            entries = sorted(await at.log(), key=lambda e: (e.scope, e.seq))
            return [(e.scope, e.seq, e.namespace, [_timeless(event) for event in e.events]) for e in entries]

        self.both(call)


async def _answer(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except StoreError as error:
        return type(error)


def _timeless(event: Event) -> Any:
    fields = {name: getattr(event, name) for name in event.__slots__ if name not in CLOCK_FIELDS}
    if "x" in fields:
        fields["x"] = fields["x"].tolist()
    if "decision" in fields:
        made = fields["decision"]
        fields["decision"] = made._replace(x=made.x.tolist(), scores=made.scores.tolist())
    return type(event), fields


def test_valkey_does_what_memory_does(valkey: EmbeddedServer) -> None:
    class Machine(Lockstep):
        server = valkey

        def teardown(self) -> None:
            self.check_logs()
            super().teardown()

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
    )
