from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.demo_plot import apart, save

POLICIES = ("tips_hours", "tips_greedy", "tips", "tips_uniform")


def test_the_picture_is_a_png_whatever_its_name_and_its_folder_is_made(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rewards = {policy: rng.choice([-1.0, 0.0, 1.0], (5, 8)) for policy in POLICIES}
    path = tmp_path / "new" / "picture"
    save(path, rewards, np.full((5, 8), 0.7), (rng.random(60) < 0.5).astype(float))
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", head[16:]) == (1800, 600)


def test_names_far_from_one_another_stay_where_they_are() -> None:
    assert apart([0.0, 1.0, 2.5], 1.0) == [0.0, 1.0, 2.5]


def test_close_names_spread_around_their_middle() -> None:
    assert apart([0.0, 0.0], 1.0) == [-0.5, 0.5]
    assert apart([0.0, 0.2, 5.0], 1.0) == [-0.4, 0.6, 5.0]
    # the lower two spread, meet the third, and make room for it together
    assert apart([0.0, 0.0, 1.2], 1.0) == pytest.approx([-0.6, 0.4, 1.4])


@given(st.lists(st.floats(-10.0, 10.0), min_size=1, max_size=8).map(sorted), st.floats(0.1, 2.0))
def test_names_end_up_apart_in_their_order_around_the_same_middle(values: list[float], gap: float) -> None:
    placed = apart(values, gap)
    assert (np.diff(placed) >= gap * (1 - 1e-6)).all()
    assert np.mean(placed) == pytest.approx(np.mean(values), abs=1e-9)
