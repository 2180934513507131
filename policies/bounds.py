"""How large and how small the numbers of a policy may be: wide enough for any use, and no score they lead to is ever infinite.

What stands between a declaration and an overflow (float64 ends at 1.8e308), for a vector of d ≤ 128 numbers within ±1e6 and an arm that
learned from 1e13 decisions, which is more than one arm sees in a lifetime:

- with 100 rewards of a decision summed up, A ≤ 1e13·1e6² = 1e25, b ≤ 1e13·1e11·1e6 = 1e30, Σr² ≤ 1e13·(1e11)² = 1e35;
- where nothing is known A holds λ, and of a pivot rounding leaves 1e-32 or more: xᵀA⁻¹x ≤ 128·1e6²/(1e-9·1e-32) < 1e56;
- so the uncertainty is below 1e28, the mean below 1e56·1e30 = 1e86, and the score 1e9 uncertainties more.

Weights under a half-life are at most 1 and may underflow to 0; it is only the half-life itself that must not, since it divides.
"""

from __future__ import annotations

MAX_FEATURE = 1e6
"""Largest magnitude of a number that may enter a vector: past it, λ drowns in the rounding of A."""

MAX_FACTORS = 16
"""Most features one product multiplies: 1e6 to the 16th is far from an overflow."""

MAX_REWARD = 1e9
"""Largest magnitude of a reward: a thousand million, of whatever unit."""

MAX_ALPHA = 1e9
"""Widest bonus: with the largest rewards it may take as much to explore at all."""

MIN_RIDGE, MAX_RIDGE = 1e-9, 1e9
"""Least and greatest λ. Below, a first decision settles everything; above, none ever settles anything."""

MIN_HALF_LIFE_S = 1.0
"""Shorter than any answer takes: a policy would forget a decision before it is rewarded."""

MIN_WINDOW_S, MAX_WINDOW_S = 1.0, 90 * 86_400.0
"""A window is open for as long as a record of each decision is kept in memory."""

MAX_LATE_GRACE_S = 365 * 86_400.0
"""And the record stays for the grace."""

MIN_IDLE_S = 3_600.0
"""Idle scopes are looked for once an hour."""
