from __future__ import annotations

from tests.faults.conftest import new_store

__all__ = ["new_store"]
