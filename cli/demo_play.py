"""The demo's two games, played through the service: which digit is this, and which tip now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

import numpy as np
from ooml.bandit.v1 import bandit_pb2 as pb

from cli.demo_client import Client, in_flight
from cli.demo_people import Moments, People, react
from policies.types import Floats, Ints

TIP_POLICIES = ("tips_hours", "tips_greedy", "tips", "tips_uniform")
DIGITS = tuple(str(digit) for digit in range(10))

READERS = 1
"""Images on their way at once: one, since every answer changes the one model that reads the next."""
SERVED = 8
"""People asked at once, enough to keep one worker busy; one person is never asked twice at a time."""


def user_id(person: int) -> str:
    """Name of a simulated person."""
    return f"demo-{person:03d}"


def task_id(person: int, task: int) -> str:
    """Name of a simulated person's task."""
    return f"demo-{person:03d}-{task:02d}"


async def read_digits(client: Client, labels: Ints, order: Ints, advance: Callable[[], None]) -> Floats:
    """Show images one after another, answer each guess, and return (n,) whether they were right, in that order.

    Args:
        labels: the digit on each image, by its number.
        order: (n,) numbers of the images, in the order to show them.
        advance: called after each image.
    """
    right = np.zeros(len(order))
    candidates = [pb.Candidate(id=digit) for digit in DIGITS]

    async def show(place: int, image: int) -> None:
        decision_id, guess = await client.score("digits", candidates, {"image_id": str(image)})
        right[place] = await client.reward(decision_id, "right" if guess == str(labels[image]) else "wrong")
        advance()

    await in_flight((show(place, image) for place, image in enumerate(order.tolist())), READERS)
    return right


async def serve_people(
    client: Client,
    people: People,
    moments: Moments,
    probabilities: Floats,
    advance: Callable[[], None],
    policies: Sequence[str] = TIP_POLICIES,
) -> dict[str, Floats]:
    """Let every policy serve everybody at the same moments; returns the (n, R) rewards by policy.

    Args:
        probabilities: (n, R, K, 3) of `outcome_probabilities`.
        advance: called after each decision.
    """
    count, rounds = moments.luck.shape
    earned = {policy: np.zeros((count, rounds)) for policy in policies}

    async def accompany(policy: str, person: int) -> None:
        entities = {"user_id": user_id(person)}
        for moment in range(rounds):
            ids = [task_id(person, task) for task in moments.slates[person, moment].tolist()]
            decision_id, chosen = await client.score(
                policy,
                [pb.Candidate(id=task, entities={"task_id": task}) for task in ids],
                entities,
                request_time=float(moments.request_time[person, moment]),
                utc_offset_s=float(people.utc_offset_s[person]),
            )
            outcome = react(probabilities[person, moment, ids.index(chosen)], float(moments.luck[person, moment]))
            earned[policy][person, moment] = await client.reward(decision_id, outcome)
            advance()

    def journeys() -> Iterator[Awaitable[None]]:
        """Policies in turn for one person after another, so that none has the machine to itself."""
        return (accompany(policy, person) for person in range(count) for policy in policies)

    await in_flight(journeys(), SERVED)
    return earned
