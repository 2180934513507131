"""The log: every commit an entry, and enough in it to audit and rebuild all that was learned."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import numpy as np

from policies.types import ArmId
from serving.events import Activated, DecisionMade, EvidenceAdded, LogEntry, RewardRecorded, ScopeForgotten
from serving.ids import shard_of
from serving.ports import Draft, Inputs, Recorded, RewardStatus
from tests.store.build import Harness, S, decision, policy, rebuilt, same


async def only_entry(at: Harness) -> LogEntry:
    entries: list[LogEntry] = await at.log()
    (entry,) = entries
    return entry


async def test_a_decision_and_what_it_taught_are_one_entry(at: Harness) -> None:
    p = policy(default=0.5)
    made = decision(p, "a", x=[1.0, 2.0], served=True, decided_at_claimed=3.0)
    recorded = await at.decide(p, made, request_id="r", body_hash=b"hash")
    entry = await only_entry(at)
    assert (entry.seq, entry.namespace, entry.scope, entry.shed) == (1, p.namespace, S, 0)
    logged, added = entry.events
    assert isinstance(logged, DecisionMade)
    assert isinstance(added, EvidenceAdded)
    assert (logged.generation, logged.body_hash) == (0, b"hash")
    assert logged.deadline_us is not None
    assert logged.deadline_us / 1e6 == recorded.reward_deadline
    assert logged.deadline_us - logged.at_us == p.spec.reward.window_s * 1e6
    assert (logged.decision.slate, logged.decision.decided_at_claimed) == (made.slate, 3.0)
    assert np.array_equal(logged.decision.x, made.x)
    assert (added.decision_id, added.reward_id, added.arm, added.grew, added.before, added.after) == (
        made.decision_id,
        "",
        "a",
        True,
        0.0,
        0.5,
    )
    assert (added.version, added.propensity, added.x.tolist()) == (1, 0.75, [1.0, 2.0])
    assert added.at_us == added.decided_at_us == logged.at_us


async def test_what_a_decision_was_made_from_is_logged_beside_it_and_not_kept_for_replies(at: Harness) -> None:
    p = policy()
    inputs = Inputs(b"the request", np.array([[1.5], [np.nan]]), b"\0\xff")
    (recorded,) = await at.store.decide([Draft(p, decision(p), "r", b"hash", 0, inputs)])
    assert isinstance(recorded, Recorded)
    logged = (await only_entry(at)).events[0]
    assert isinstance(logged, DecisionMade)
    assert logged.inputs is not None
    assert (logged.inputs.message, logged.inputs.sources) == (b"the request", b"\0\xff")
    assert np.array_equal(logged.inputs.moments, inputs.moments, equal_nan=True)
    replayed = (await at.read(p, "a", request_id="r")).recorded
    assert same(replayed.decision, recorded.decision)


async def test_a_decision_whose_inputs_are_not_known_is_logged_without(at: Harness) -> None:
    await at.open(policy())
    logged = (await only_entry(at)).events[0]
    assert isinstance(logged, DecisionMade)
    assert logged.inputs is None


async def test_without_a_default_a_decision_is_logged_alone(at: Harness) -> None:
    await at.open(policy(default=None))
    assert [type(e) for e in (await only_entry(at)).events] == [DecisionMade]


async def test_a_reward_is_logged_with_what_it_changed(at: Harness) -> None:
    p = policy(default=0.5, aggregate="sum")
    of = await at.open(p, "a", x=[1.0, 2.0])
    await at.reward(p, of, 2.0, "é", 1e9)
    await at.reward(p, of, 2.0, "é", 1e9)
    _, entry = await at.log()
    rewarded, added = entry.events
    assert isinstance(rewarded, RewardRecorded)
    assert isinstance(added, EvidenceAdded)
    assert (rewarded.decision_id, rewarded.reward_id, rewarded.status) == (of, "é", RewardStatus.APPLIED)
    assert (rewarded.value, rewarded.occurred_at) == (2.0, 1e9)
    assert (added.decision_id, added.reward_id, added.arm, added.grew, added.before, added.after) == (of, "é", "a", False, 0.5, 2.0)
    assert added.decided_at_us < added.at_us == rewarded.at_us


async def test_a_late_reward_is_logged_as_such_and_taught_nothing(at: Harness) -> None:
    p = policy(default=None, window_s=0.0)
    await at.reward(p, await at.open(p), 2.0)
    _, entry = await at.log()
    (rewarded,) = entry.events
    assert isinstance(rewarded, RewardRecorded)
    assert (rewarded.status, rewarded.value, rewarded.reward_id, rewarded.occurred_at) == (RewardStatus.LATE, 2.0, "", None)


async def test_an_activation_is_logged_with_what_it_taught(at: Harness) -> None:
    p = policy(default=0.5)
    of = await at.open(p, deferred=True)
    deadline = await at.store.activate(p, of)
    await at.store.activate(p, of)
    first, entry = await at.log()
    assert isinstance(first.events[0], DecisionMade)
    assert first.events[0].deadline_us is None
    activated, added = entry.events
    assert isinstance(activated, Activated)
    assert isinstance(added, EvidenceAdded)
    assert (activated.decision_id, activated.deadline_us / 1e6) == (of, deadline)
    assert (added.grew, added.after, added.decided_at_us) == (True, 0.5, first.events[0].at_us)


async def test_forgetting_is_logged(at: Harness) -> None:
    p = policy()
    await at.store.forget(p.spec.name, [p.namespace], S)
    entry = await only_entry(at)
    (forgotten,) = entry.events
    assert isinstance(forgotten, ScopeForgotten)
    assert (entry.scope, entry.namespace, forgotten.policy, forgotten.generation) == (S, "", "p", 1)


async def test_sequence_numbers_have_no_gaps_whoever_writes_at_once(at: Harness) -> None:
    p = policy(default=1.0)

    async def one(scope: str) -> None:
        await at.reward(p, await at.open(p, scope=scope), 1.0)

    await asyncio.gather(*(one(f"s{i % 20}") for i in range(60)))
    numbers = defaultdict(list)
    for entry in await at.log():
        numbers[shard_of(p.spec.name, entry.scope)].append(entry.seq)
    assert sum(map(len, numbers.values())) == 120
    assert all(seen == list(range(1, len(seen) + 1)) for seen in numbers.values())


async def test_evidence_is_what_its_log_adds_up_to(at: Harness) -> None:
    rng = np.random.default_rng(4)
    p = policy(default=0.25, aggregate="mean", dimension=3)
    for _ in range(30):
        of = await at.open(p, rng.choice(["a", "b"]), x=rng.normal(size=3))
        for reward_id in range(rng.integers(0, 4)):
            await at.reward(p, of, float(rng.normal()), f"{reward_id}")
    evidence = (await at.read(p, "a", "b")).evidence
    log = await at.log()
    for arm, row in zip(("a", "b"), evidence.rows, strict=True):
        np.testing.assert_allclose(row[3:], rebuilt(log, p, ArmId(arm), 0)[3:], rtol=1e-12, atol=1e-12)
        assert row[1] == rebuilt(log, p, ArmId(arm), 0)[1]
