"""Values that go wrong most often, by kind, and those that a request needs to get far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

DECISIONS = 48
"""Decisions made before a round, for its rewards to name."""
DECISION_ID_CHARACTERS = 38


def decision(k: int) -> str:
    """Stands for the id of a round's k-th decision, which is known only once it is made; as long as one."""
    return f"<decision {k}>".ljust(DECISION_ID_CHARACTERS, ".")


POLICIES = ("tips", "tips_hours", "sums", "shared")
PEOPLE = ("user-00", "user-01", "user-02", "global", "42", "042", "+42")

NASTY_TEXTS: Sequence[str] = (
    "",
    " ",
    "\0",
    "\x1f",
    "\x7f",
    "\x9f",
    "\u202e",
    "\ufeff",
    "\U0010ffff",
    "e\u0301",
    "x" * 256,
    "x" * 257,
    "é" * 128,
    "é" * 129,
    "\U0001f600" * 64,
    "x" * 5_000,
    "٤٢",
    "²",
    "1_000",
    "-0",
    "9" * 256,
    "-9223372036854775809",
    "nan",
    "None",
    "{0}",
    "%s%n",
    "{}",
    ":",
    "*",
    "a:b/c",
    "../../etc/passwd",
    "__proto__",
    "'; FLUSHALL; --",
    "\r\nFLUSHALL\r\n",
    "ooml:policies",
    "return redis.call('FLUSHALL')",
    "00" * 19,
    "ff" * 19,
    "FF" * 19,
)

LIKELY_TEXTS: Mapping[str, Sequence[str]] = {
    "policy": POLICIES,
    "scope": PEOPLE,
    "decision_id": [decision(k) for k in range(DECISIONS)],
    "outcome": ("done", "snooze", "dismiss", "bought", "left"),
    "request_id": ("r1", "r2", "r3"),
    "reward_id": ("a", "b", "c"),
    "id": tuple(f"c{k}" for k in range(12)),
    "candidate_id": tuple(f"c{k}" for k in range(12)),
    "arm": ("", "", "one", "two", "task"),
    "service": ("", "ooml.bandit.v1.BanditService", "ooml.bandit.v1.PolicyService"),
}
"""By the name of the field."""

ENTITIES = {"user_id": PEOPLE, "task_id": tuple(f"user-00-task-{k:02d}" for k in range(10))}
FEATURES = ("price", "rain")

NASTY_DOUBLES = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1 + 2**-52,
    1e6,
    math.nextafter(1e6, math.inf),
    -1e6,
    1e-300,
    5e-324,
    1.7e308,
    -1.7e308,
    math.inf,
    -math.inf,
    math.nan,
    2.0**53,
)
NASTY_INTEGERS = (0, 1, -1, 2, 100, 999_999_999, 10**9, -(10**9), 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1)
TIMES = (-62_135_596_801, -62_135_596_800, -1, 0, 1_700_000_000, 253_402_300_799, 253_402_300_800, 64_800, 64_801, -64_800)
NASTY_SIZES = (0, 1, 2, 3)
LIMITS: Mapping[str, int] = {"candidates": 500, "requests": 100, "entities": 256, "context": 256, "features": 256}
"""The most that each may hold."""
