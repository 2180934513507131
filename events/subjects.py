"""Under which subject an event is published: ``signals.<source>.<what>``.

======================  ================================================================================
``signals.tip.served``  decisions of the tip policies (``tips``, ``tips_…``), and their activations
``signals.tip.feedback``  their rewards, and what was learned
``signals.tip.scopes``  who was forgotten or dropped
``signals.<policy>.…``  the same of any other policy
``signals.task.synced``  tasks as they were read from where people keep them
``signals.log.shed``    how many decisions the log had no room for
======================  ================================================================================
"""

from __future__ import annotations

from functools import lru_cache

from ooml.bandit.v1 import events_pb2 as pb

from policies.parse import NAME
from policies.types import PolicyName

ALL = "signals.>"
DEAD_LETTERS = "deadletters.signals"
"""Where what claims to be an event and is none is put aside."""

_TIPS = "tips"
_WHAT = {
    "decision_made": "served",
    "decision_activated": "served",
    "reward_received": "feedback",
    "evidence_added": "feedback",
    "scope_forgotten": "scopes",
    "scope_dropped": "scopes",
}
_OF_NO_POLICY = {"task_synced": "signals.task.synced", "decisions_shed": "signals.log.shed"}


def subject_of(event: pb.Event) -> str:
    """The subject of an event.

    Raises:
        ValueError: it is of no kind that this version knows, or names no policy though its kind has one.
    """
    kind = event.WhichOneof("kind")
    if kind in _OF_NO_POLICY:
        return _OF_NO_POLICY[kind]
    if kind not in _WHAT:
        raise ValueError(f"an event of kind {kind!r}")
    return _subject(kind, getattr(event, kind).policy)


@lru_cache(maxsize=1024)
def _subject(kind: str, policy: PolicyName) -> str:
    if not NAME.fullmatch(policy):
        raise ValueError(f"an event of kind {kind!r} that names no policy")
    return f"signals.{source_of(policy)}.{_WHAT[kind]}"


def source_of(policy: PolicyName) -> str:
    """The part of a subject that stands for a policy: variants of the tip policy are one source."""
    return "tip" if policy == _TIPS or policy.startswith(f"{_TIPS}_") else policy


def covers(pattern: str, subject: str) -> bool:
    """Whether a subject with wildcards (``*`` for one word, ``>`` for all that follow) stands for all that another stands for."""
    words, others = pattern.split("."), subject.split(".")
    if words[-1] == ">" and len(others) >= len(words):
        words.pop()
        others = others[: len(words)]
    return len(words) == len(others) and all(one in ("*", word) and word != ">" for one, word in zip(words, others, strict=True))
