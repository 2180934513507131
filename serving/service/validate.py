"""Everything that can be wrong with a request on its own, found in one pass so that callers mend it in one."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from itertools import chain, islice

from features.columns import Columns
from policies import bounds
from policies.spec import RewardRules
from serving.service.commands import Reward, Score, Served
from serving.service.errors import MAX_VIOLATIONS, FieldViolation, InvalidRequest

MAX_CANDIDATES = 500
MAX_ID_BYTES = 256
UTF8_BYTES = 4
"""Most bytes a character takes."""
MAX_ENTRIES = 256
MAX_MAGNITUDE = bounds.MAX_FEATURE
"""Largest magnitude of a number that may enter a vector."""
MAX_UTC_OFFSET_S = 18 * 3600.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
YEAR_1, YEAR_10000 = -62_135_596_800.0, 253_402_300_800.0


def score_violations(request: Score) -> list[FieldViolation]:
    """What breaks the contract in a Score, whatever the policy: all of it, or one more than are told.

    Raises:
        InvalidRequest: it holds too much of something. That is counted and not looked at, here or by anyone after: millions of entries
            would hold up everybody.
    """
    if _plainly_fine(request):
        return []
    too_many = list(_too_many(request))
    if too_many:
        raise InvalidRequest(too_many)
    return list(islice(_score_violations(request), MAX_VIOLATIONS + 1))


def _plainly_fine(request: Score) -> bool:
    """Whether nothing at all is wrong: found out for all texts and numbers at once, which takes a quarter of looking at each."""
    ids, arms, entities, features = request.ids, request.arms, request.own_entities, request.own_features
    if not 1 <= len(ids) <= MAX_CANDIDATES or len(request.entities) > MAX_ENTRIES or len(request.context) > MAX_ENTRIES:
        return False
    shared = request.entities
    texts = [request.policy, request.request_id or "none", *ids, *shared, *shared.values()]
    if isinstance(entities, Columns):
        texts += entities.of
        texts += chain.from_iterable(entities.of.values())
    elif any(entities):
        if max(map(len, entities)) > MAX_ENTRIES:
            return False
        texts += {name for own in entities for name in own}
        texts += [own[name] for own in entities for name in own]
    if any(arms):
        texts += filter(None, arms)
    numbers = [request.context[name] for name in request.context]
    if any(features):
        if max(map(len, features)) > MAX_ENTRIES:
            return False
        numbers += chain.from_iterable(own.values() for own in features)
    joined = "".join(texts)
    return (
        len(set(ids)) == len(ids)
        and all(texts)
        and max(map(len, texts)) <= MAX_ID_BYTES // UTF8_BYTES
        and (joined.isprintable() or not _CONTROL.search(joined))
        and all(map(math.isfinite, numbers))
        and abs(request.utc_offset_s) <= MAX_UTC_OFFSET_S
        and (request.request_time is None or YEAR_1 <= request.request_time < YEAR_10000)
        and request.served is None
    )


def _too_many(request: Score) -> Iterator[FieldViolation]:
    """What a Score holds too much of: candidates, or entries of a map."""
    count = len(request.ids)
    if count > MAX_CANDIDATES:
        yield FieldViolation("candidates", f"must be 1 to {MAX_CANDIDATES}, got {count}")
        return
    yield from _entries("entities", request.entities)
    yield from _entries("context", request.context)
    for k, (entities, features) in enumerate(zip(request.own_entities, request.own_features, strict=True)):
        yield from _entries(f"candidates[{k}].entities", entities)
        yield from _entries(f"candidates[{k}].features", features)


def _entries(path: str, entries: Mapping[str, object]) -> Iterator[FieldViolation]:
    if len(entries) > MAX_ENTRIES:
        yield FieldViolation(path, f"must hold at most {MAX_ENTRIES} entries, got {len(entries)}")


def _score_violations(request: Score) -> Iterator[FieldViolation]:
    yield from identifier("policy", request.policy)
    yield from _entities("entities", request.entities)
    yield from _numbers("context", request.context)
    if request.request_time is not None:
        yield from _moment("request_time", request.request_time)
    if not abs(request.utc_offset_s) <= MAX_UTC_OFFSET_S:
        yield FieldViolation("utc_offset", f"must be within ±18 h, got {request.utc_offset_s:g} s")
    if request.request_id:
        yield from identifier("request_id", request.request_id)
    yield from _slate(request)
    if request.served is not None:
        yield from _served(request.served, request)


def activate_violations(decision_id: str) -> Iterator[FieldViolation]:
    """What breaks the contract in an Activate."""
    yield from identifier("decision_id", decision_id)


def reward_violations(request: Reward) -> Iterator[FieldViolation]:
    """What breaks the contract in a Reward, whatever the policy."""
    yield from identifier("decision_id", request.decision_id)
    if request.reward_id:
        yield from identifier("reward_id", request.reward_id)
    if request.occurred_at is not None:
        yield from _moment("occurred_at", request.occurred_at)
    if request.value is None and request.outcome is None:
        yield FieldViolation("result", "say what came of it: give `value` or `outcome`")


def reward_value(request: Reward, rules: RewardRules) -> tuple[float, list[FieldViolation]]:
    """The value a reward is worth under a policy's rules, and what breaks them.

    Returns:
        The value (NaN when it has none) and the violations, empty when the value may be learned.
    """
    violations = []
    value = math.nan
    if request.outcome is not None:
        if request.outcome in rules.outcomes:
            value = rules.outcomes[request.outcome]
        else:
            known = ", ".join(sorted(rules.outcomes)) or "none: send `value`"
            violations.append(FieldViolation("outcome", f"the policy names no outcome {request.outcome!r}; it names {known}"))
    elif request.value is not None:
        value = request.value
        if not rules.low <= value <= rules.high:
            violations.append(FieldViolation("value", f"must be within [{rules.low:g}, {rules.high:g}], got {value:g}"))
    if rules.aggregate != "first" and not request.reward_id:
        violations.append(FieldViolation("reward_id", f"required, because the policy aggregates `{rules.aggregate}`"))
    return value, violations


def identifier(path: str, value: str) -> Iterator[FieldViolation]:
    """What keeps a text from being an id: emptiness, length, characters nobody can see."""
    if not value:
        yield FieldViolation(path, "must not be empty")
    elif len(value) > MAX_ID_BYTES or len(value.encode()) > MAX_ID_BYTES:
        yield FieldViolation(path, f"must be at most {MAX_ID_BYTES} bytes of UTF-8, got {len(value.encode())}")
    elif _CONTROL.search(value):
        yield FieldViolation(path, "must not hold control characters")


def _slate(request: Score) -> Iterator[FieldViolation]:
    if not request.ids:
        yield FieldViolation("candidates", f"must be 1 to {MAX_CANDIDATES}, got 0")
    seen: dict[str, int] = {}
    columns = zip(request.ids, request.arms, request.own_entities, request.own_features, strict=True)
    for k, (name, arm, entities, features) in enumerate(columns):
        path = f"candidates[{k}]"
        yield from identifier(f"{path}.id", name)
        if (first := seen.setdefault(name, k)) != k:
            yield FieldViolation(f"{path}.id", f"{name!r} is already the id of candidates[{first}]")
        if arm:
            yield from identifier(f"{path}.arm", arm)
        yield from _entities(f"{path}.entities", entities)
        yield from _numbers(f"{path}.features", features)


def _served(served: Served, request: Score) -> Iterator[FieldViolation]:
    if served.candidate_id not in request.ids:
        yield FieldViolation("served.candidate_id", f"{served.candidate_id!r} is not among the candidates")
    if not 0.0 < served.propensity <= 1.0:
        yield FieldViolation("served.propensity", f"must be within (0, 1], got {served.propensity:g}")
    if served.decided_at is not None:
        yield from _moment("served.decided_at", served.decided_at)


def _entities(path: str, entities: Mapping[str, str]) -> Iterator[FieldViolation]:
    for name, value in entities.items():
        where = f"{path}[{name!r}]"
        for violation in identifier(where, name):
            yield FieldViolation(where, f"its name {violation.description}")
        yield from identifier(where, value)


def _numbers(path: str, numbers: Mapping[str, float]) -> Iterator[FieldViolation]:
    for name, value in numbers.items():
        if not math.isfinite(value):
            yield FieldViolation(f"{path}[{name!r}]", f"must be a finite number, got {value}")


def _moment(path: str, seconds: float) -> Iterator[FieldViolation]:
    if not YEAR_1 <= seconds < YEAR_10000:
        yield FieldViolation(path, "must be a time within the years 1 to 9999")
