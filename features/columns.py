"""Maps that all have the same keys, kept by column: what is asked of all of them at once then takes one look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, TypeVar, overload

T = TypeVar("T")


class Columns(Sequence[Mapping[str, T]], Generic[T]):
    """(K,) maps.

    Args:
        of: key → the (K,) values of all maps; at least one key.
    """

    __slots__ = ("of",)

    def __init__(self, of: Mapping[str, Sequence[T]]) -> None:
        self.of = of

    def __len__(self) -> int:
        return len(next(iter(self.of.values())))

    @overload
    def __getitem__(self, at: int) -> Mapping[str, T]: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Mapping[str, T]]: ...
    def __getitem__(self, at: int | slice) -> Mapping[str, T] | Sequence[Mapping[str, T]]:
        if isinstance(at, slice):
            return Columns({name: column[at] for name, column in self.of.items()})
        return {name: column[at] for name, column in self.of.items()}

    def __iter__(self) -> Iterator[Mapping[str, T]]:
        return (dict(zip(self.of, row, strict=True)) for row in zip(*self.of.values(), strict=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)
