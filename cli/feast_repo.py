"""Applies a Feast repository, publishes its plans and materialises its data, for `ooml up`.

``python -m cli.feast_repo REPO``, with the variables that the repository's ``feature_store.yaml`` names, and `OOML_REDIS_URL`. A process
of its own, since Feast is slow to import and large. Says `PUBLISHED` on stdout when policies can be applied; ends when the data is in
the online store.
"""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, datetime
from pathlib import Path

PUBLISHED = "published"
FIRST_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
"""What is older than this is not materialised."""


def main(repo: Path) -> None:
    """Apply, publish, and materialise everything up to now."""
    from feast import FeatureStore
    from feast.repo_config import load_repo_config
    from feast.repo_operations import apply_total

    from features.compiler import compile_repo
    from serving.settings import load
    from serving.watcher import Publisher

    with contextlib.redirect_stdout(sys.stderr):
        sys.path.insert(0, str(repo))  # Feast imports the definitions as modules
        config = load_repo_config(repo, repo / "feature_store.yaml")
        apply_total(config, repo, skip_source_validation=False)
        Publisher(load(feature_repo=repo))(*compile_repo(repo))
    print(PUBLISHED, flush=True)
    with contextlib.redirect_stdout(sys.stderr):
        FeatureStore(config=config).materialize(FIRST_MOMENT, datetime.now(UTC))


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
