"""Evidence worked out from rows of the log, in any order and any batches, is what `policies.evidence` adds up one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from events.columns import table_of
from events.recompute import COLUMNS, NEVER, Ends, Forgotten, Recount
from events.translate import events_of
from policies.evidence import AS_OF, COUNT, WEIGHT, add_decision, add_reward
from policies.types import HEADER, ArmId, DecisionId, Floats, Namespace, PolicyName, PolicyVersion, ScopeId, triangle
from serving.events import EvidenceAdded, LogEntry

NAMESPACE, POLICY = Namespace("0123456789ab"), PolicyName("p")
START_US = 1_750_000_000_000_000
SCOPES, ARMS = ("u", "v:w", "ü"), ("a", "b")
NUMBERS = st.floats(-10, 10)


class Step(NamedTuple):
    """A decision of an arm, which is worth a value some time after it was made and, maybe, others later. Any time may be negative."""

    scope: str
    arm: str
    x: Sequence[float]
    values: Sequence[float]
    waits_us: int
    apart_us: int


def steps(dimension: int) -> st.SearchStrategy[list[Step]]:
    step = st.builds(
        Step,
        st.sampled_from(SCOPES),
        st.sampled_from(ARMS),
        st.lists(NUMBERS, min_size=dimension, max_size=dimension),
        st.lists(NUMBERS, min_size=1, max_size=3),
        st.integers(-5_000_000, 5_000_000),
        st.integers(-5_000_000, 60_000_000),
    )
    return st.lists(step, max_size=25)


def learned(steps: Iterable[Step], half_life_s: float | None) -> tuple[dict[tuple[str, str], Floats], list[EvidenceAdded], list[str]]:
    """Rows by arm, what the store logs of it, and whose each of these is. The clock may step back, as in the store."""
    rows: dict[tuple[str, str], Floats] = {}
    logged: list[EvidenceAdded] = []
    scopes: list[str] = []
    now = START_US
    for step in steps:
        decided_at, before = now, None
        now += step.waits_us
        for value in step.values:
            x = np.array(step.x)
            row = rows.get((step.scope, step.arm), np.zeros(HEADER + len(x) + triangle(len(x))))
            if before is None:
                row = add_decision(row, x, now, half_life_s, value, decided_at_us=decided_at)
            else:
                row = add_reward(row, x, now, half_life_s, decided_at_us=decided_at, old=before, new=value)
            rows[step.scope, step.arm] = row
            logged.append(
                EvidenceAdded(
                    DecisionId(f"d{len(logged)}"),
                    "",
                    PolicyVersion(1),
                    0.5,
                    ArmId(step.arm),
                    before is None,
                    before or 0.0,
                    value,
                    int(row[AS_OF]),
                    decided_at,
                    x,
                )
            )
            scopes.append(step.scope)
            before = value
            now += step.apart_us
    return rows, logged, scopes


def batches(added: Sequence[EvidenceAdded], scopes: Sequence[str], size: int) -> list[pa.RecordBatch]:
    events = [
        event
        for number, (one, scope) in enumerate(zip(added, scopes, strict=True))
        for event in events_of(LogEntry("e", number + 1, NAMESPACE, ScopeId(scope), 0, (one,)), POLICY, 0)
    ]
    table = table_of(events, [bytes(16)] * len(events)).select(COLUMNS).combine_chunks()
    return [batch for batch in table.to_batches(max_chunksize=size) if batch.num_rows]


@given(data=st.data(), dimension=st.integers(1, 4), half_life_s=st.none() | st.floats(1.0, 1e6), size=st.integers(1, 40))
def test_the_order_of_rows_does_not_matter(data: st.DataObject, dimension: int, half_life_s: float | None, size: int) -> None:
    expected, added, scopes = learned(data.draw(steps(dimension)), half_life_s)
    order = data.draw(st.permutations(range(len(added))))
    recount = Recount({NAMESPACE: half_life_s}, Ends({}, {}))
    for batch in batches([added[i] for i in order], [scopes[i] for i in order], size):
        recount.add(batch)
    if not added:
        assert recount.sums == {}
        return
    sums = recount.sums[NAMESPACE]
    assert sums.arms.keys() == expected.keys()
    for arm, place in sums.arms.items():
        row, exact = sums.rows[place], expected[arm]
        assert row[[COUNT, AS_OF]].tolist() == exact[[COUNT, AS_OF]].tolist()
        assert row[0] == sum((scope, one.arm) == arm for scope, one in zip(scopes, added, strict=True))
        within = 1e-12 * np.concatenate([[1.0], sums.sizes[place], np.full(triangle(dimension), row[HEADER + dimension :].max(initial=0))])
        assert (np.abs(row[WEIGHT:] - exact[WEIGHT:]) <= within + 1e-300).all()


def of(value: float, at_us: int, scope: str = "u") -> tuple[EvidenceAdded, str]:
    x = np.array([1.0, 2.0])
    return EvidenceAdded(DecisionId("d"), "", PolicyVersion(1), 0.5, ArmId("a"), True, 0.0, value, at_us, at_us, x), scope


def counts(recount: Recount, *told: tuple[EvidenceAdded, str]) -> dict[str, float]:
    for batch in batches([one for one, _ in told], [scope for _, scope in told], 10):
        recount.add(batch)
    return {scope: float(sums.rows[place, COUNT]) for sums in recount.sums.values() for (scope, _), place in sums.arms.items()}


def test_what_was_logged_up_to_the_end_of_a_scope_is_over() -> None:
    ends = Ends(
        {("p", "u"): [Forgotten(START_US - 5, 1), Forgotten(START_US, 2)], ("other", "v"): [Forgotten(START_US, 1)]},
        {(NAMESPACE, "w"): [START_US + 1], ("ffff", "v"): [START_US + 9]},
    )
    told = [of(1.0, START_US + i, scope) for i in range(3) for scope in ("u", "v", "w")]
    assert counts(Recount({NAMESPACE: None}, ends), *told) == {"u": 2, "v": 3, "w": 1}


def test_what_was_logged_after_the_time_of_a_row_is_not_in_it() -> None:
    recount = Recount({NAMESPACE: None}, Ends({}, {}), lambda namespace, arm: (START_US + (arm[0] == "u"), NEVER))
    assert counts(recount, *[of(1.0, START_US + i, scope) for i in range(3) for scope in ("u", "v")]) == {"u": 2, "v": 1}


def test_nor_what_ended_its_scope_after_that_time() -> None:
    ends = Ends({}, {(NAMESPACE, "u"): [START_US, START_US + 3]})
    recount = Recount({NAMESPACE: None}, ends, lambda namespace, arm: (START_US + 2, START_US + 2))
    assert counts(recount, *[of(1.0, START_US + i) for i in range(5)]) == {"u": 2}


def test_rows_of_a_namespace_nobody_knows_are_counted_aside() -> None:
    recount = Recount({}, Ends({}, {}))
    assert counts(recount, of(1.0, START_US), of(2.0, START_US)) == {}
    assert recount.unknown == {NAMESPACE: 2}


def test_vectors_of_one_namespace_have_one_length() -> None:
    longer = EvidenceAdded(DecisionId("d"), "", PolicyVersion(1), 0.5, ArmId("a"), True, 0.0, 1.0, START_US, START_US, np.ones(3))
    recount = Recount({NAMESPACE: None}, Ends({}, {}))
    counts(recount, of(1.0, START_US))
    with pytest.raises(ValueError, match="have 2 numbers, and 3"):
        counts(recount, (longer, "u"))
    with pytest.raises(ValueError, match="have 2, 3 numbers"):
        counts(recount, (longer, "u"), of(1.0, START_US))
