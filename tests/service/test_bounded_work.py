"""A request may be wrong in a hundred thousand places: what is done about it does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import pytest

from policies.parse import parse_spec
from policies.types import CandidateId, PolicyName
from serving.memory.catalog import MemoryCatalog
from serving.memory.store import MemoryDecisionStore
from serving.resolve import resolve
from serving.service import slate
from serving.service.bandit import BanditService
from serving.service.commands import Score
from serving.service.deciding import Sources
from serving.service.errors import MAX_VIOLATIONS, FieldViolation, InvalidRequest
from serving.transport.status import status_of
from tests.transport.harness import SHOP, read_status


class Uncounted(Mapping[str, Any]):
    """So many entries, at none of which anybody may look."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> NoReturn:
        raise AssertionError("somebody looked at the entries")

    def __getitem__(self, key: str) -> NoReturn:
        raise AssertionError("somebody looked at an entry")


class Crowd(tuple[CandidateId, ...]):
    """A million candidates, at none of which anybody may look."""

    __slots__ = ()

    def __len__(self) -> int:
        return 1_000_000

    def __iter__(self) -> NoReturn:
        raise AssertionError("somebody looked at the candidates")


MANY = Uncounted(257)
NONE: Mapping[str, Any] = {}


def slate_of(*, features: Sequence[Mapping[str, Any]] = (NONE,), entities: Sequence[Mapping[str, str]] = ()) -> dict[str, Any]:
    """The columns of candidates that have such features."""
    count = len(features)
    ids = [CandidateId(str(k)) for k in range(count)]
    return {"ids": ids, "arms": [""] * count, "own_entities": entities or [NONE] * count, "own_features": features}


@pytest.fixture
def service() -> BanditService:
    return serving(SHOP)


def serving(declared: Mapping[str, Any]) -> BanditService:
    rng = np.random.default_rng(1)
    catalog = MemoryCatalog([resolve(parse_spec({"name": "p", **declared}), None)])
    return BanditService(MemoryDecisionStore(lambda: 1), catalog, Sources(lambda: 1.0, rng, rng.bytes))


async def refusal(service: BanditService, **fields: Any) -> InvalidRequest:
    request = Score(**{"policy": PolicyName("shop"), **slate_of(), "entities": {"user_id": "u"}, **fields})
    try:
        (answer,) = await service.decide([service.prepare(request)])
    except InvalidRequest as refused:
        return refused
    assert isinstance(answer, InvalidRequest)
    return answer


@pytest.mark.parametrize(
    ("fields", "path", "why"),
    [
        ({"ids": Crowd()}, "candidates", "must be 1 to 500, got 1000000"),
        ({"context": Uncounted(200_000)}, "context", "must hold at most 256 entries, got 200000"),
        ({"entities": MANY}, "entities", "must hold at most 256 entries, got 257"),
        (slate_of(features=[NONE, MANY]), "candidates[1].features", "must hold at most 256 entries, got 257"),
        (slate_of(features=[NONE] * 2, entities=[NONE, MANY]), "candidates[1].entities", "must hold at most 256 entries, got 257"),
    ],
)
async def test_what_is_too_much_is_counted_and_not_looked_at(service: BanditService, fields: Any, path: str, why: str) -> None:
    assert (await refusal(service, **fields)).violations == (FieldViolation(path, why),)


async def test_everything_there_is_too_much_of_is_told(service: BanditService) -> None:
    refused = await refusal(service, context=MANY, entities=MANY, **slate_of(features=[MANY]))
    assert [v.field for v in refused.violations] == ["entities", "context", "candidates[0].features"]


async def test_no_more_mistakes_are_worded_than_are_counted(service: BanditService) -> None:
    wrong = {f"x{i}": float("nan") for i in range(256)}
    refused = await refusal(service, **slate_of(features=[wrong] * 500))
    assert len(refused.violations) == MAX_VIOLATIONS
    assert refused.violations[0] == FieldViolation("candidates[0].features['x0']", "must be a finite number, got nan")


WIDE = [f"f{i}" for i in range(120)]


@pytest.mark.parametrize(
    ("declared", "features"),
    [
        ({"features": ["a"]}, dict.fromkeys(WIDE, 1.0)),
        ({"features": WIDE, "on_missing": "reject"}, {}),
        ({"features": WIDE}, dict.fromkeys(WIDE, 1e7)),
    ],
    ids=["unknown", "missing", "too large"],
)
async def test_features_that_break_the_policy_s_rules_are_worded_as_sparingly(
    declared: Any, features: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worded = []

    def counted(*said: str) -> FieldViolation:
        worded.append(1)
        return FieldViolation(*said)

    monkeypatch.setattr(slate, "FieldViolation", counted)
    refused = await refusal(serving(declared), **slate_of(features=[features] * 500), policy=PolicyName("p"), entities={})
    assert (len(refused.violations), len(worded)) == (MAX_VIOLATIONS, MAX_VIOLATIONS + 1)


def test_a_refusal_takes_one_more_mistake_than_it_tells_and_leaves_the_rest() -> None:
    taken = []

    def endless() -> Iterator[FieldViolation]:
        while True:
            taken.append(1)
            yield FieldViolation(f"candidates[{len(taken) - 1}]", "x" * 40)

    seen = read_status(status_of(InvalidRequest(endless())))
    assert len(taken) == MAX_VIOLATIONS + 1
    *named, rest = seen.fields.items()
    assert named == [(f"candidates[{k}]", "x" * 40) for k in range(len(named))]
    assert rest == ("", f"and at least {MAX_VIOLATIONS + 1 - len(named)} more")
    assert seen.message == f"candidates[0]: {'x' * 40} (and at least {MAX_VIOLATIONS} more)"


def test_a_status_is_made_of_the_mistakes_that_fit_and_no_others() -> None:
    read: set[int] = set()

    class Watched(FieldViolation):
        """Knows whether a status has read it."""

        def __getattribute__(self, name: str) -> Any:
            if name == "description":
                read.add(id(self))
            return super().__getattribute__(name)

    error = InvalidRequest([Watched(f"candidates[{k}]", "x" * 40) for k in range(MAX_VIOLATIONS)])
    read.clear()
    named = [field for field in read_status(status_of(error)).fields if field]
    assert len(read) == len(named) + 1  # the last one did not fit
