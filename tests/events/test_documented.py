"""`docs/event-log.md` tells the truth: the table's columns, and a query that anybody can run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable
from deltalake.schema import ArrayType, MapType, PrimitiveType
from ooml.bandit.v1 import events_pb2 as pb

from events.columns import table_of
from events.identity import identity
from events.table import EventTable
from tests.events.build import NOON_S, event, new_id

PAGE = (Path(__file__).parent.parent.parent / "docs" / "event-log.md").read_text()


def name_of(kind: PrimitiveType | ArrayType | MapType | object) -> str:
    match kind:
        case PrimitiveType():
            return kind.type
        case ArrayType():
            return f"array<{name_of(kind.element_type)}>"
        case MapType():
            return f"map<{name_of(kind.key_type)},{name_of(kind.value_type)}>"
    raise AssertionError(kind)


def test_the_page_lists_every_column_with_its_type_as_delta_calls_it(tmp_path: Path) -> None:
    EventTable(str(tmp_path / "events"))
    columns = [(field.name, name_of(field.type)) for field in DeltaTable(tmp_path / "events").schema().fields]
    assert re.findall(r"^\| `(\w+)` \| (\S+) \| ", PAGE, re.MULTILINE) == columns


def decision(version: int, chosen: int, value: float, *, first: float = 0.0, served: bool = False) -> list[pb.Event]:
    """Of two candidates, the second of which is expected to be better. It is drawn with probability 0.8."""
    propensities = [0.2, 0.8]
    made = pb.DecisionMade(
        decision_id=new_id(),
        policy="tips",
        policy_version=version,
        means=[0.1, 0.5],
        propensities=propensities,
        propensity=propensities[chosen],
        chosen=chosen,
        served=served,
    )

    def learned(after: float, reward: float | None) -> pb.EvidenceAdded:
        return pb.EvidenceAdded(
            decision_id=made.decision_id,
            policy="tips",
            policy_version=version,
            propensity=made.propensity,
            grew=reward is None,
            value_after=after,
            reward_value=reward,
        )

    later = NOON_S + 60
    return [event(decision_made=made), event(evidence_added=learned(first, None)), event(later, evidence_added=learned(value, value))]


def rows_of(found: duckdb.DuckDBPyRelation | None) -> list[tuple[Any, ...]]:
    assert found is not None
    return found.fetchall()


def test_the_first_query_gives_rewards_and_unbiased_estimates_by_version(tmp_path: Path) -> None:
    happened = [
        *decision(1, chosen=1, value=1.0, first=0.25),
        *decision(1, chosen=0, value=0.5),
        *decision(1, chosen=0, value=7.0, served=True),
        *decision(2, chosen=1, value=0.6),
    ]
    EventTable(str(tmp_path)).append(table_of(happened, [identity(one) for one in happened]))
    events = DeltaTable(tmp_path).to_pyarrow_dataset()  # noqa: F841  the query names it
    (query,) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    rows = rows_of(duckdb.sql(query))
    assert [row[:3] for row in rows] == [("tips", 1, 2), ("tips", 2, 1)]
    assert rows[0][3:] == pytest.approx((0.75, 1.0 / 0.8 / 2, 1.0))
    assert rows[1][3:] == pytest.approx((0.6, 0.6 / 0.8, 0.6))


def test_duckdb_reads_the_files_without_arrow_too(tmp_path: Path) -> None:
    happened = [*decision(1, chosen=1, value=1.0), event(task_synced=pb.TaskSynced(user_id="u", task_id="t"))]
    EventTable(str(tmp_path)).append(table_of(happened, [identity(one) for one in happened]))
    files = DeltaTable(tmp_path).file_uris()
    query = "SELECT policy, count(*) FROM read_parquet($files, hive_partitioning = true) GROUP BY 1 ORDER BY 1"
    assert rows_of(duckdb.sql(query, params={"files": files})) == [("tips", 3), (None, 1)]
