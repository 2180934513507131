"""What a Feast registry defines, as one short text, read without Feast: cheap enough to ask twice a second.

It changes with every `feast apply` that changes a definition, and with nothing else: what Feast keeps beside a definition (when it
was applied, what was materialised) is left out, and the order in which protobuf happened to write a map does not count.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from features.wire import DecodeError, canonical, fields

Definition = tuple[str, str, bytes]
"""Kind, name and serialised protobuf of one object of a registry."""

_TABLES = (
    ("entities", "entity_name", "entity_proto"),
    ("data_sources", "data_source_name", "data_source_proto"),
    ("feature_views", "feature_view_name", "feature_view_proto"),
    ("stream_feature_views", "feature_view_name", "feature_view_proto"),
    ("on_demand_feature_views", "feature_view_name", "feature_view_proto"),
    ("feature_services", "feature_service_name", "feature_service_proto"),
)
_REGISTRY_FIELDS = {
    1: "entities",
    12: "data_sources",
    6: "feature_views",
    14: "stream_feature_views",
    8: "on_demand_feature_views",
    7: "feature_services",
}
_SPEC, _SOURCE_META = 1, 50
_PROJECT = 2
"""Field of a view's spec."""


class RegistryUnreadableError(Exception):
    """The registry, or the repository that names it, cannot be read; the message says why."""


def fingerprint(repo: Path) -> str:
    """Fingerprint of the registry that a feature repository's ``feature_store.yaml`` names.

    Raises:
        RegistryUnreadableError.
    """
    try:
        config = yaml.safe_load(os.path.expandvars((repo / "feature_store.yaml").read_text()))
        registry = config["registry"]
        kind, path = ("file", registry) if isinstance(registry, str) else (registry.get("registry_type", "file"), registry["path"])
        return registry_fingerprint(kind, path, config["project"], repo)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise RegistryUnreadableError(f"{repo / 'feature_store.yaml'}: {type(error).__name__}: {error}") from error


def registry_fingerprint(kind: str, path: str, project: str, repo: Path) -> str:
    """Fingerprint of one project of a registry.

    Args:
        kind: ``sql`` or ``file``.
        path: an SQLAlchemy URL, or a file's path.
        project: whose definitions.
        repo: folder that a relative file path starts from.

    Raises:
        RegistryUnreadableError.
    """
    if kind == "file":
        found = _from_file(repo / path)
    elif kind == "sql":
        found = _from_sqlite(path, project) if path.startswith("sqlite://") else _from_sql(path, project)
    else:
        raise RegistryUnreadableError(f"registries of type {kind} cannot be watched: use sql or file")
    return _digest(tuple(found))


def _from_sqlite(url: str, project: str) -> list[Definition]:
    file = Path(url.split("?")[0].removeprefix("sqlite:///"))
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("BEGIN")  # one snapshot for all tables
            return [
                (table, name, proto)
                for table, key, column in _TABLES
                for name, proto in database.execute(f"SELECT {key}, {column} FROM {table} WHERE project_id = ?", (project,))  # noqa: S608
            ]
    except sqlite3.Error as error:
        raise RegistryUnreadableError(f"{file}: {error}") from error


def _from_sql(url: str, project: str) -> list[Definition]:
    from sqlalchemy import column, create_engine, select, table
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=NullPool)  # the driver Feast takes
        found: list[Definition] = []
        with engine.connect() as connection:
            for name, key, proto in _TABLES:
                query: Any = select(column(key), column(proto)).select_from(table(name)).where(column("project_id") == project)
                found.extend((name, str(row[0]), bytes(row[1])) for row in connection.execute(query).all())
    except (SQLAlchemyError, ImportError) as error:
        raise RegistryUnreadableError(f"registry: {type(error).__name__}") from error  # the driver's text may hold the password
    return found


def _from_file(path: Path) -> list[Definition]:
    try:
        objects = fields(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise RegistryUnreadableError(f"{path}: {error}") from error
    return [(_REGISTRY_FIELDS[n], "", proto) for n, proto in objects if n in _REGISTRY_FIELDS and isinstance(proto, bytes)]


@lru_cache(maxsize=4)
def _digest(definitions: tuple[Definition, ...]) -> str:
    authored = sorted(repr((kind, name, _authored(kind, proto))) for kind, name, proto in definitions)
    return hashlib.sha256("\n".join(authored).encode()).hexdigest()[:32]


def _authored(kind: str, proto: bytes) -> list[object]:
    """The part of a registered object that its author wrote."""
    if kind == "data_sources":
        return canonical(field for field in fields(proto) if field[0] != _SOURCE_META)
    specs = [value for number, value in fields(proto) if number == _SPEC and isinstance(value, bytes)]
    # Feast leaves the project out of a view's spec when it notes a materialisation, and puts it back at the next apply.
    dropped = _PROJECT if kind.endswith("feature_views") else None
    return [canonical(field for field in fields(spec) if field[0] != dropped) for spec in specs]
