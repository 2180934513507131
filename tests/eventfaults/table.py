"""What the table holds, against what a client was told and what the store has learned."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import redis
from deltalake import DeltaTable

from policies.types import PolicyName, ScopeId
from serving.ids import shard_of
from serving.redis.keys import keys_of
from tests.eventfaults.client import LoggedClient
from tests.faults.record import DIMENSION, Scope, Sums

Row = dict[str, Any]
Fact = tuple[str, ...]
"""Kind, policy, scope, decision, reward, and of evidence what caused it."""

_COLUMNS = [
    "id",
    "kind",
    "policy",
    "scope",
    "decision_id",
    "reward_id",
    "value",
    "arm",
    "x",
    "grew",
    "value_before",
    "value_after",
    "count",
]
_COLUMNS += ["generation", "shard", "epoch", "sequence", "candidate_ids", "chosen"]


def rows_of(table: Path) -> list[Row]:
    """All rows; none when there is no table yet."""
    if not DeltaTable.is_deltatable(str(table)):
        return []
    rows: list[Row] = DeltaTable(str(table)).to_pyarrow_table(columns=_COLUMNS).to_pylist()
    return rows


def check_table(rows: Sequence[Row], client: LoggedClient, but_for: Counter[Fact] | None = None) -> None:
    """Every acknowledged call of the client is in the table, once (but for some facts); and nothing else of its people. All calls must have
    been answered."""
    assert len({row["id"] for row in rows}) == len(rows)
    expected, found = _expected(client), _found(rows, client)
    assert (expected - found, found - expected) == (but_for or Counter(), Counter())


def missing(rows: Sequence[Row], client: LoggedClient) -> Counter[Fact]:
    """What the table lacks of a client's acknowledged calls."""
    return _expected(client) - _found(rows, client)


def _expected(client: LoggedClient) -> Counter[Fact]:
    return Counter(fact for scope in client.scopes for fact in facts_of(scope))


def _found(rows: Sequence[Row], client: LoggedClient) -> Counter[Fact]:
    mine = {scope.name for scope in (*client.scopes, *client.forgotten)}
    return Counter(found_of(row) for row in rows if row["scope"] in mine and row["kind"] != "forgotten")


def check_forgotten(rows: Sequence[Row], client: LoggedClient, port: int) -> None:
    """The table tells of each time that the store forgot a person, once."""
    told = defaultdict(list)
    for row in rows:
        if row["kind"] == "forgotten":
            told[row["policy"], row["scope"]].append(row["generation"])
    with redis.Redis(port=port) as store:
        for scope in client.forgotten:
            keys = keys_of(shard_of(PolicyName(scope.policy), ScopeId(scope.name)))
            times = int(store.get(keys.generation(PolicyName(scope.policy), ScopeId(scope.name))) or 0)
            assert times > 0
            assert sorted(told[scope.policy, scope.name]) == list(range(1, times + 1))


def facts_of(scope: Scope) -> Iterator[Fact]:
    """What the log must tell of a scope, all of whose calls were answered."""
    for decision in scope.decisions:
        assert decision.answer is not None
        of = (scope.policy, scope.name, decision.answer.decision_id)
        yield ("decision", *of, "", decision.arm)
        if decision.request.deferred:
            yield ("activated", *of, "", "")
        yield ("evidence", *of, "", "default")
        for reward in decision.rewards:
            yield ("reward", *of, reward.reward_id, f"{reward.value:g}")
            yield ("evidence", *of, reward.reward_id, f"{reward.value:g}")


def sums_of(rows: Sequence[Row]) -> dict[tuple[str, str, str], Sums]:
    """Evidence by policy, scope and arm, as defined: sums over what was learned; for policies without a half-life."""
    terms: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "evidence":
            terms[row["policy"], row["scope"], row["arm"]].append(row)
    return {arm: _sums(found) for arm, found in terms.items()}


def _sums(terms: list[Row]) -> Sums:
    X = np.array([row["x"] for row in terms])
    change = np.array([row["value_after"] - row["value_before"] for row in terms])
    grew = X[[row["grew"] for row in terms]].reshape(-1, DIMENSION)
    return Sums(len(grew), float(change.sum()), change @ X, (grew.T @ grew)[np.triu_indices(DIMENSION)])


def found_of(row: Row) -> Fact:
    """What a row tells."""
    said = ""
    match row["kind"]:
        case "decision":
            said = row["candidate_ids"][row["chosen"]]
        case "evidence" if row["value"] is None:
            said = "default"
        case "evidence" | "reward":
            said = f"{row['value']:g}"
    return (row["kind"], row["policy"], row["scope"], row["decision_id"], row["reward_id"] or "", said)
