"""Compiling the feature services of a Feast repository from the command line."""

from __future__ import annotations

from pathlib import Path

from cli.publish import Compiled
from features.fingerprint import RegistryUnreadableError, fingerprint


class FeatureRepoError(Exception):
    """The repository or its registry cannot be read; the message says what to do."""


def compile_services(repo: Path) -> Compiled:
    """All feature services of a repository, each as a plan or as the reasons why it has none. Takes seconds: it imports Feast.

    Raises:
        FeatureRepoError: before Feast is imported, when it is plain that Feast could not read the repository either.
    """
    try:
        fingerprint(repo)
    except RegistryUnreadableError as error:
        raise _error(repo, error) from error
    from feast import FeatureStore

    from features.compiler import CompileError, compile_all

    try:
        plans, problems = compile_all(FeatureStore(repo_path=str(repo)))
    except (CompileError, RegistryUnreadableError) as error:
        raise _error(repo, error) from error
    reasons: dict[str, str] = {}
    for problem in problems:
        text = f"{reasons[problem.feature_service]}; " if problem.feature_service in reasons else ""
        reasons[problem.feature_service] = text + problem.description
    return Compiled({plan.feature_service: plan for plan in plans}, reasons)


def _error(repo: Path, error: Exception) -> FeatureRepoError:
    setup = ". ./env.sh && " if (repo / "env.sh").is_file() else ""
    first = f"`cd {repo} && {setup}feast apply` in this shell comes first"
    return FeatureRepoError(f"feature services of {repo} cannot be compiled ({error}): {first}")
