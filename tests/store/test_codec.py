"""Packed forms come back as they went in, and stay what earlier versions wrote."""

from __future__ import annotations

import struct

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from policies.types import ArmId, CandidateId, DecisionId, Namespace, PolicyName, PolicyVersion, ScopeId
from serving.ports import Decision, Inputs
from serving.redis.codec import pack_decision, pack_facts, pack_inputs, unpack_decision, unpack_evidence, unpack_inputs
from tests.store.build import decision, policy, same

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.floats(allow_nan=False)


@st.composite
def decisions(draw: st.DrawFn) -> Decision:
    k, d, f = draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(0, 4))
    return Decision(
        decision_id=draw(TEXT.map(DecisionId)),
        policy=draw(TEXT.map(PolicyName)),
        version=draw(st.integers(1, 2**32 - 1).map(PolicyVersion)),
        namespace=draw(TEXT.map(Namespace)),
        scope=draw(TEXT.map(ScopeId)),
        candidates=tuple(draw(st.lists(TEXT.map(CandidateId), min_size=k, max_size=k))),
        arms=tuple(draw(st.lists(TEXT.map(ArmId), min_size=k, max_size=k))),
        scores=np.array(draw(st.lists(NUMBER, min_size=4 * k, max_size=4 * k))).reshape(k, 4),
        chosen=draw(st.integers(0, k - 1)),
        propensity=draw(NUMBER),
        x=np.array(draw(st.lists(NUMBER, min_size=k * d, max_size=k * d))).reshape(k, d),
        status=draw(st.binary(min_size=k * f, max_size=k * f)),
        request_time=draw(NUMBER),
        seed=draw(st.integers(0, 2**64 - 1)),
        deferred=draw(st.booleans()),
        served=draw(st.booleans()),
        decided_at_claimed=draw(st.none() | NUMBER),
    )


@given(decisions(), st.binary(max_size=64), st.integers(0, 9), st.integers(0, 2**53), st.none() | st.integers(0, 2**53))
def test_a_decision_comes_back_whole(made: Decision, body_hash: bytes, generation: int, at_us: int, deadline_us: int | None) -> None:
    head = struct.pack("<ddd", generation, at_us, -1 if deadline_us is None else deadline_us)
    back = unpack_decision(head + pack_decision(made, body_hash))
    assert same(back.decision, made)
    assert (back.body_hash, back.generation, back.at_us, back.deadline_us) == (body_hash, generation, at_us, deadline_us)


@given(decisions())
def test_a_vector_that_all_candidates_share_is_kept_once(made: Decision) -> None:
    k, d = made.x.shape
    made = made._replace(x=np.arange(float(k * d)).reshape(k, d))
    alike = made._replace(x=np.tile(made.x[-1], (k, 1)))
    packed = pack_decision(alike, b"")
    assert len(pack_decision(made, b"")) - len(packed) == 8 * d * (k - 1)
    assert same(unpack_decision(bytes(24) + packed).decision, alike)


def test_a_decision_of_another_format_is_refused() -> None:
    p = policy()
    packed = bytearray(bytes(24) + pack_decision(decision(p), b""))
    packed[24] = 2
    with pytest.raises(ValueError, match="format 2"):
        unpack_decision(bytes(packed))


@given(st.data(), st.binary(max_size=64), st.integers(0, 4), st.integers(0, 3))
def test_what_a_decision_was_made_from_comes_back_whole(data: st.DataObject, message: bytes, k: int, v: int) -> None:
    moments = np.array(data.draw(st.lists(NUMBER | st.just(np.nan), min_size=k * v, max_size=k * v))).reshape(k, v)
    sources = data.draw(st.binary(max_size=5))
    back = unpack_inputs(pack_inputs(Inputs(message, moments, sources)))
    assert (back.message, back.sources, back.moments.shape, back.moments.tobytes()) == (message, sources, (k, v), moments.tobytes())


def test_inputs_of_another_format_are_refused() -> None:
    packed = pack_inputs(Inputs(b"", np.empty((1, 0)), b""))
    with pytest.raises(ValueError, match="format 2"):
        unpack_inputs(b"\2" + packed[1:])


def test_the_facts_of_a_decision_are_packed_as_documented() -> None:
    packed = pack_facts(decision(policy(), "é", scope="s", x=[1.0, -2.0]))
    assert packed == bytes.fromhex("01000000000000000000e83f02000100730200c3a9000000000000f03f00000000000000c0")


def test_missing_rows_of_evidence_are_zeros() -> None:
    row = np.arange(8.0)  # 6 + d + d(d+1)/2 numbers for d = 1
    evidence = unpack_evidence([ArmId("a"), ArmId("b")], [None, row.tobytes()], 1)
    assert evidence.rows.tolist() == [[0.0] * 8, row.tolist()]


def test_rows_at_the_version_held_are_left_out() -> None:
    old, new = np.full(8, 1.0), np.full(8, 2.0)
    arms = [ArmId(name) for name in "abcd"]
    held = {ArmId("a"): 1, ArmId("b"): 1, ArmId("c"): 0, ArmId("d"): 5}
    evidence = unpack_evidence(arms, [b"", new.tobytes(), None, None], 1, held)
    assert evidence.arms == ("b", "d")  # a is as it was, c still has nothing, d has nothing any more
    assert evidence.rows.tolist() == [new.tolist(), [0.0] * 8]
    assert unpack_evidence(arms[:1], [old.tobytes()], 1).arms == ("a",)
