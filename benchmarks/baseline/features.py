"""The sample's features as Feast's SDK reads them: the definitions of `feature_repo`, with an on-demand view in the SDK's faster mode.

`feature_repo` declares its view for pandas, which costs the SDK 2 ms a read. With ``mode="python"`` it costs half a millisecond: what
ooml is measured against is the better of the two, in a registry of its own.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

from feast import FeatureService, FeatureStore, Field
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64

from benchmarks.baseline import COMPUTED, STORED
from cli.up import ROOT

NAMES = ("hour_sin", "hour_cos", "is_overdue", "task_age", "priority")
SERVICES = {COMPUTED: "baseline_computed", STORED: "baseline_stored"}
"""Feature services: all five features; the stored columns they come from, and no on-demand view."""


def open_store() -> FeatureStore:
    """A store with the two services applied; it takes its data, registry and Redis from the environment, as `feature_repo` does."""
    repo = ROOT / "feature_repo"
    own = _definitions()

    @on_demand_feature_view(sources=[own.tasks, own.moment], schema=[Field(name=n, dtype=Float64) for n in NAMES], mode="python")  # type: ignore[untyped-decorator]
    def tips_python(inputs: dict[str, Any]) -> dict[str, Any]:
        from features.transforms import compute  # here: Feast rebuilds this function from its text, without what surrounds it

        names = ("hour_sin", "hour_cos", "is_overdue", "task_age", "priority")
        return {name: values.tolist() for name, values in compute(names, inputs).items()}

    store = FeatureStore(str(repo))
    services = [
        FeatureService(name=SERVICES[COMPUTED], features=[tips_python]),
        FeatureService(name=SERVICES[STORED], features=[own.tasks]),
    ]
    store.apply([own.user, own.task, own.tasks, own.tips_request, own.tips_v1, tips_python, *services])
    return store


def _definitions() -> ModuleType:
    spec = importlib.util.spec_from_file_location("definitions", ROOT / "feature_repo" / "definitions.py")
    if spec is None or spec.loader is None:
        raise ImportError("feature_repo/definitions.py is missing")
    module = importlib.util.module_from_spec(spec)
    sys.modules["definitions"] = module
    spec.loader.exec_module(module)
    return module
