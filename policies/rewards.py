"""How the rewards of one decision combine into the value it counts for."""

from __future__ import annotations

from dataclasses import dataclass

from policies.spec import Aggregate


@dataclass(frozen=True, slots=True)
class Tally:
    """The rewards a decision has had so far.

    Args:
        count: how many.
        sum: their sum.
        value: what they come to under the policy's aggregate; None before the first.
    """

    count: int = 0
    sum: float = 0.0
    value: float | None = None


def fold(aggregate: Aggregate, tally: Tally, value: float) -> Tally:
    """The tally after one more reward. Under ``first`` every later reward leaves it as it is."""
    if tally.value is None:
        return Tally(1, value, value)
    if aggregate == "first":
        return tally
    count, total = tally.count + 1, tally.sum + value
    match aggregate:
        case "last":
            combined = value
        case "sum":
            combined = total
        case "max":
            combined = max(tally.value, value)
        case "min":
            combined = min(tally.value, value)
        case "mean":
            combined = total / count
    return Tally(count, total, combined)
