"""From Feast's registry to plans. The one module that imports Feast: 6 s and 180 MB, so that the workers need not.

Key and field layouts are taken from Feast's own store, never rebuilt here; an on-demand view is believed only once its function has
been run on a few rows and agreed, to the last bit, with the transforms the server will use in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feast import FeatureStore, FeatureView, OnDemandFeatureView
from feast.infra.online_stores.helpers import compute_versioned_name
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from features.fingerprint import registry_fingerprint
from features.keys import key_of
from features.plan import Column, Dtype, Feature, JoinKey, Plan, Problem, TransformRef, View
from features.probe import disagreements
from features.transforms import SERVER_FIELDS, TRANSFORMS

_DTYPES: dict[str, Dtype] = {
    "DOUBLE": "float64",
    "FLOAT": "float32",
    "INT64": "int64",
    "INT32": "int32",
    "BOOL": "bool",
    "UNIX_TIMESTAMP": "timestamp",
    "STRING": "string",
}
_NO_ENTITY = "__dummy_id"
"""Join key that Feast gives views without entities; its value is empty."""

_ATTEMPTS = 20


class CompileError(Exception):
    """A feature service cannot be served; every reason is in ``problems``."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{p.feature_service}: {p.description}" for p in problems))


def compile_repo(repo: Path) -> tuple[tuple[Plan, ...], tuple[Problem, ...]]:
    """Plans of all feature services that a repository has applied, and what stands in the way of the others.

    Raises:
        RegistryUnreadableError.
    """
    return compile_all(FeatureStore(str(repo)))


def compile_service(store: FeatureStore, name: str) -> Plan:
    """The plan of one feature service.

    Raises:
        CompileError: it does not exist, or uses what cannot be served; all of it is listed.
        RegistryUnreadableError.
    """
    plans, problems = compile_all(store, only=name)
    if problems:
        raise CompileError(problems)
    return plans[0]


def compile_all(store: FeatureStore, only: str | None = None) -> tuple[tuple[Plan, ...], tuple[Problem, ...]]:
    """Plans of all feature services (or the one named), by name, and what stands in the way of the others.

    All of one state of the registry: when it changes meanwhile, it is read again.

    Raises:
        RegistryUnreadableError.
    """
    for _ in range(_ATTEMPTS):
        before = _fingerprint(store)
        store.refresh_registry()  # type: ignore[no-untyped-call]
        plans: list[Plan] = []
        problems: list[Problem] = []
        names = sorted(service.name for service in store.list_feature_services())
        if only is not None and only not in names:
            problems.append(Problem(only, f"no such feature service; the registry has {', '.join(names) or 'none'}"))
        for name in names:
            if only in (None, name):
                build = _Build(store, name)
                plan = build.plan(before)
                problems.extend(Problem(name, text) for text in dict.fromkeys(build.problems))
                if not build.problems:
                    plans.append(plan)
        if _fingerprint(store) == before:
            return tuple(plans), tuple(problems)
    raise CompileError([Problem(only or "*", "the registry keeps changing")])


def _fingerprint(store: FeatureStore) -> str:
    registry = store.config.registry
    return registry_fingerprint(registry.registry_type, registry.path, store.project, store.repo_path)


@dataclass
class _Build:
    """A plan in the making: views and columns are added as features turn out to need them; problems are collected."""

    store: FeatureStore
    service: str
    views: dict[tuple[Any, ...], tuple[Any, list[str]]] = field(default_factory=dict)
    transforms: list[TransformRef] = field(default_factory=list)
    request_fields: dict[str, None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def plan(self, fingerprint: str) -> Plan:
        """The plan; worth nothing when there are problems."""
        service = self.store.get_feature_service(self.service)
        if getattr(service, "precompute_online", False):
            self.problems.append("precompute_online is not supported: the views themselves are read")
        features: list[Feature] = []
        for projection in service.feature_view_projections:
            view = self._view(projection)
            if isinstance(view, OnDemandFeatureView):
                features.extend(self._computed(view, projection))
            elif view is not None:
                features.extend(self._stored(view, projection))
        names = [f.name for f in features]
        self.problems.extend(f"two features are named {name}" for name in dict.fromkeys(names) if names.count(name) > 1)
        if not features:
            self.problems.append("it has no features")
        views = tuple(self._layout(view, columns) for view, columns in self.views.values()) if not self.problems else ()
        return Plan(self.service, fingerprint, views, tuple(self.transforms), tuple(self.request_fields), tuple(features))

    def _view(self, projection: Any) -> Any:
        name = projection.name
        try:
            view = self.store.registry.get_any_feature_view(name, self.store.project)
        except Exception as error:  # whatever Feast says of a view it cannot load
            self.problems.append(f"view {name}: {error}")
            return None
        if projection.version_tag is not None:
            self.problems.append(f"view {name}: a pinned version is not supported")
        if not getattr(view, "enabled", True):
            self.problems.append(f"view {name} is disabled")
        if not isinstance(view, FeatureView | OnDemandFeatureView):
            self.problems.append(f"view {name}: a {type(view).__name__} is not supported")
            return None
        return view

    def _stored(self, view: Any, projection: Any) -> list[Feature]:
        """Features that are columns of a view."""
        index = self._add(view, projection, [f.name for f in projection.features])
        features = []
        for stored in projection.features:
            dtype = self._dtype(view, stored)
            if dtype == "timestamp":
                self.problems.append(f"feature {view.name}:{stored.name}: a timestamp is no number to learn from; let a transform use it")
            elif dtype is not None:
                features.append(Feature(stored.name, dtype, index, stored.name, None))
        return features

    def _computed(self, view: Any, projection: Any) -> list[Feature]:
        """Features of an on-demand view, each by the transform of its name."""
        wrong = list(self._unlike_transforms(view, projection))
        self.problems.extend(wrong)
        if wrong:
            return []
        for source in view.source_feature_view_projections.values():
            source_view = self._view(source)
            if source_view is not None:
                used = [f.name for f in source.features if any(f.name in TRANSFORMS[c.name].inputs for c in projection.features)]
                self._add(source_view, source, used)
        features = []
        for computed in projection.features:
            transform = TRANSFORMS[computed.name]
            ref = TransformRef(transform.name, transform.version)
            if ref not in self.transforms:
                self.transforms.append(ref)
            features.append(Feature(computed.name, transform.dtype, None, computed.name, self.transforms.index(ref)))
            sent = {f.name for source in view.source_request_sources.values() for f in source.schema}
            self.request_fields.update(dict.fromkeys(i for i in transform.inputs if i in sent and i not in SERVER_FIELDS))
        return features

    def _unlike_transforms(self, view: Any, projection: Any) -> Sequence[str]:
        """Why the server's transforms could not stand in for an on-demand view."""
        where = f"on-demand view {view.name}"
        if view.write_to_online_store or view.aggregations:
            return [f"{where}: write_to_online_store and aggregations are not supported"]
        unknown = [f.name for f in projection.features if f.name not in TRANSFORMS]
        if unknown:
            return [
                f"{where}: {', '.join(unknown)} computed by no registered transform; add it to features/transforms.py and call it there"
            ]
        sources = list(view.source_feature_view_projections.values())
        if any(s.name_alias or s.join_key_map for s in sources):
            return [f"{where}: sources with an alias or mapped join keys are not supported"]
        inputs: dict[str, str] = {}
        stored = [(s.name, f) for s in sources for f in s.features]
        for source, given in [*stored, *((None, f) for s in view.source_request_sources.values() for f in s.schema)]:
            dtype = _dtype(given)
            if given.name in inputs:
                return [f"{where}: two of its sources have a column {given.name}"]
            if source is None and given.name in SERVER_FIELDS and dtype != "float64":
                return [f"{where}: {given.name} must be Float64, in seconds"]
            inputs[given.name] = dtype or "unsupported"
        names = [f.name for f in projection.features]
        wrong = [
            f"{where}: {name} needs a number or timestamp {needed} among its sources"
            for name in names
            for needed in TRANSFORMS[name].inputs
            if inputs.get(needed) in (None, "string", "unsupported")
        ]
        return wrong or [f"{where}: {text}" for text in disagreements(view, inputs, names)]

    def _dtype(self, view: Any, stored: Any) -> Dtype | None:
        dtype = _dtype(stored)
        if dtype is None:
            self.problems.append(f"feature {view.name}:{stored.name}: type {stored.dtype} has no numeric meaning here")
        return dtype

    def _add(self, view: Any, projection: Any, columns: Sequence[str]) -> int:
        """Index of a view in the plan; what is needed of it grows."""
        identity = (projection.name, projection.name_alias, tuple(sorted(projection.join_key_map.items())))
        _, known = self.views.setdefault(identity, (view.with_projection(projection), []))
        known.extend(c for c in columns if c not in known)
        return list(self.views).index(identity)

    def _layout(self, view: Any, columns: Sequence[str]) -> View:
        """Where a view's rows lie in the online store."""
        online, config = self.store._get_provider().online_store, self.store.config
        if not isinstance(online, RedisOnlineStore):
            self.problems.append(f"online store {type(online).__name__} is not supported: features are read from Redis")
            return View(view.name, (), b"", b"", (), b"", None)
        versioned = compute_versioned_name(view, config.registry.enable_online_feature_view_versioning)
        _, raw = online._generate_hset_keys_for_features(view, list(columns), fv_name_override=versioned)
        *fields, moment = (f.encode() if isinstance(f, str) else f for f in raw)
        types = {f.name: self._dtype(view, f) for f in view.features}
        prefix, suffix, keys = self._template(online, view)
        return View(
            name=view.projection.name_alias or view.name,
            join_keys=keys,
            key_prefix=prefix,
            key_suffix=suffix,
            columns=tuple(Column(c, f, types[c] or "float64") for c, f in zip(columns, fields, strict=True)),
            timestamp_field=moment,
            ttl_s=view.ttl.total_seconds() if view.ttl else None,
        )

    def _template(self, online: Any, view: Any) -> tuple[bytes, bytes, tuple[JoinKey, ...]]:
        """The constant parts of a view's keys, proven on one key that Feast makes."""

        def key(names: Sequence[str], values: Sequence[Any]) -> bytes:
            made: list[bytes] = online._generate_redis_keys_for_entities(
                self.store.config, [EntityKey(join_keys=list(names), entity_values=list(values))]
            )
            return made[0]

        suffix = self.store.project.encode()
        columns = sorted(view.entity_columns, key=lambda c: c.name)
        names = [c.name for c in columns]
        empty = key(names, [Value(string_val="") for _ in names]).removesuffix(suffix)
        if names in ([], [_NO_ENTITY]):
            return empty, suffix, ()
        dtypes = {c.name: _dtype(c) for c in columns}
        if any(dtype not in ("string", "int64", "int32") for dtype in dtypes.values()):
            self.problems.append(f"view {view.name}: join keys must be String, Int64 or Int32")
            return b"", b"", ()
        prefix = empty[: len(empty) - 8 * len(names)]
        keys = tuple(JoinKey(view.projection.join_key_map.get(n, n), dtypes[n]) for n in names)  # type: ignore[arg-type]  # checked above
        probe = View(view.name, keys, prefix, suffix, (), b"", None)
        values = [_seven(dtypes[n]) for n in names]
        if key_of(probe, {k.name: "-7" for k in keys}, {}) != key(names, values):
            self.problems.append(f"view {view.name}: this Feast lays out keys in a way that is not known")
        return prefix, suffix, keys


def _seven(dtype: Dtype | None) -> Any:
    if dtype == "string":
        return Value(string_val="-7")
    return Value(int64_val=-7) if dtype == "int64" else Value(int32_val=-7)


def _dtype(column: Any) -> Dtype | None:
    return _DTYPES.get(column.dtype.to_value_type().name)
