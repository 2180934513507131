"""All that the demo draws before its first call: the same seed, the same world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cli.demo_data import digit_labels
from cli.demo_people import Moments, People, draw_moments, draw_people, outcome_probabilities
from policies.types import Floats, Ints

START = 1_767_571_200.0
"""When the simulated weeks begin: midnight UTC of 5 January 2026, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is played: so many people, moments of each, and images."""

    people: int
    moments: int
    images: int


FULL, QUICK = Scale(200, 20, 1797), Scale(60, 24, 300)


@dataclass(frozen=True, slots=True)
class World:
    """People and images, and in which order they come.

    Args:
        people: whom to serve.
        moments: when, and between which of their tasks.
        probabilities: (n, R, K, 3) of what they would do.
        labels: the digit on each image.
        order: (images,) in which the images come.
    """

    people: People
    moments: Moments
    probabilities: Floats
    labels: Ints
    order: Ints


def draw_world(seed: int, scale: Scale) -> World:
    """Draw a world; people, moments and images each from a stream of their own."""
    rng_people, rng_moments, rng_images = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3))
    people = draw_people(rng_people, scale.people, START)
    moments = draw_moments(rng_moments, people, START, scale.moments)
    labels = digit_labels()
    return World(people, moments, outcome_probabilities(people, moments), labels, rng_images.permutation(len(labels))[: scale.images])
