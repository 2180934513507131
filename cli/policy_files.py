"""Policy files: every *.yaml of a folder as specs, or every mistake of every file with its line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from cli.yaml_marks import Document, Mark, read
from policies.parse import SpecError, parse_spec
from policies.spec import PolicySpec
from policies.types import PolicyName


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One thing to mend, and where."""

    file: Path
    mark: Mark
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.mark.line}:{self.mark.column}: {self.text}"


class PolicyFilesError(Exception):
    """The files cannot be published; holds every mistake of every file, in order."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes: tuple[Mistake, ...] = tuple(sorted(mistakes))
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """One declared policy, and where each of its values stands."""

    file: Path
    spec: PolicySpec
    document: Document = field(repr=False)

    def mistakes(self, error: SpecError) -> list[Mistake]:
        """What is wrong with its values, with their places."""
        return located(self.file, self.document, error)


def read_folder(folder: Path) -> tuple[PolicyFile, ...]:
    """All policies declared in a folder's *.yaml (or in the one file named), sorted by file.

    Raises:
        PolicyFilesError: there is no file, or at least one mistake in one of them.
    """
    paths = [folder] if folder.is_file() else sorted(p for p in folder.glob("*") if p.suffix in (".yaml", ".yml") and p.is_file())
    if not paths:
        why = "holds no *.yaml file" if folder.is_dir() else "no such folder"
        raise PolicyFilesError([Mistake(folder, Mark(1, 1), why)])
    declared: dict[PolicyName, PolicyFile] = {}
    mistakes: list[Mistake] = []
    for path in paths:
        try:
            policy = _read_file(path)
        except PolicyFilesError as error:
            mistakes += error.mistakes
            continue
        if (first := declared.setdefault(policy.spec.name, policy)) is not policy:
            text = f"{policy.spec.name} is declared in {first.file} already"
            mistakes.append(Mistake(path, policy.document.mark(("name",)), text))
    if mistakes:
        raise PolicyFilesError(mistakes)
    return tuple(declared.values())


def located(file: Path, document: Document, error: SpecError) -> list[Mistake]:
    """A spec's violations as mistakes of its file."""
    return [
        Mistake(file, document.mark(violation.path), f"{_dotted(violation.path)}: {violation.message}") for violation in error.violations
    ]


def _read_file(path: Path) -> PolicyFile:
    try:
        document = read(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise PolicyFilesError([Mistake(path, Mark(1, 1), f"not UTF-8: {error.reason} at byte {error.start}")]) from None
    except OSError as error:
        raise PolicyFilesError([Mistake(path, Mark(1, 1), f"cannot be read: {error.strerror}")]) from None
    mistakes = [Mistake(path, mark, text) for mark, text in document.mistakes]
    if document.value is None and mistakes:
        raise PolicyFilesError(mistakes)
    try:
        spec = parse_spec(cast(Mapping[str, object], document.value))  # which says so when it is no mapping
    except SpecError as error:
        explained = {mistake.mark.line for mistake in mistakes}
        mistakes += [mistake for mistake in located(path, document, error) if mistake.mark.line not in explained]
        raise PolicyFilesError(mistakes) from None
    if mistakes:
        raise PolicyFilesError(mistakes)
    return PolicyFile(path, spec, document)


def _dotted(path: Sequence[str | int]) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".") or "policy"
