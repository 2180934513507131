"""A keyring in memory, for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from serving.access.keys import Key, KeyId


class MemoryKeyring:
    """`serving.access.keys.Keyring` over a dict that `put` replaces."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys: Mapping[KeyId, Key] = {key.id: key for key in keys}

    @property
    def keys(self) -> Mapping[KeyId, Key]:
        """See `Keyring.keys`."""
        return self._keys

    def put(self, key: Key) -> None:
        """Add a key, or change it."""
        self._keys = {**self._keys, key.id: key}
