"""What a team builds in an afternoon, and what ooml is measured against: Feast's SDK, a bandit in the process, JSON on disk."""

OOML, TOGETHER, SDK = "ooml", "ooml together", "Feast's SDK"
STORED, COMPUTED = "stored columns alone", "request-time features computed too"
"""Who reads what in `reading`."""
TRIP, ROWS = "an empty round trip", "the rows fetched and not looked at"
"""Beside them: what every read waits for."""

COMPANY = 16
"""Requests whose features ooml reads in one round trip when many are in flight."""
