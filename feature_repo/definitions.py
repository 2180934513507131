"""What is known of people, tasks and images: entities, views and the feature services that policies name."""

import os
from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Bool, Float32, Float64, Int64, String, UnixTimestamp

DATA = Path(os.environ["OOML_DATA_DIR"])
DIGITS = Path(__file__).parent.parent / "examples" / "digits" / "digits.parquet"


def parquet(name: str, path: Path) -> FileSource:
    """A Parquet file; of two rows of an entity at one moment, the one created last counts."""
    return FileSource(name=name, path=str(path), timestamp_field="event_timestamp", created_timestamp_column="created")


user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING, description="A person who is shown things")
task = Entity(name="task", join_keys=["task_id"], value_type=ValueType.STRING, description="A task of a person's list")
decision = Entity(name="decision", join_keys=["decision_id"], value_type=ValueType.STRING, description="One answer to a Score")
image = Entity(name="image", join_keys=["image_id"], value_type=ValueType.STRING, description="A handwritten digit")

tasks = FeatureView(
    name="tasks",
    entities=[task],
    ttl=timedelta(days=365),
    schema=[
        Field(name="task_id", dtype=String),
        Field(name="created_at", dtype=UnixTimestamp, description="When the task was added"),
        Field(name="due_at", dtype=UnixTimestamp, description="When it is due; a date without a time as its midnight in UTC"),
        Field(name="due_has_time", dtype=Bool, description="Whether due_at has a time; null without a due date"),
        Field(name="priority_level", dtype=Int64, description="As Todoist's API counts: 1 to 4, 4 most urgent"),
    ],
    source=parquet("tasks_file", DATA / "tasks.parquet"),
)

user_activity = FeatureView(
    name="user_activity",
    entities=[user],
    ttl=timedelta(days=7),
    schema=[
        Field(name="user_id", dtype=String),
        Field(name="tasks_done_7d", dtype=Int64, description="Tasks completed in the last seven days"),
        Field(name="response_rate_7d", dtype=Float32, description="Share of tips answered in the last seven days"),
    ],
    source=PushSource(name="user_activity_push", batch_source=parquet("user_activity_file", DATA / "user_activity.parquet")),
)

digits = FeatureView(
    name="digits",
    entities=[image],
    ttl=timedelta(0),  # an image never grows old
    schema=[Field(name="image_id", dtype=String)] + [Field(name=f"p{i:02d}", dtype=Float32) for i in range(64)],
    source=parquet("digits_file", DIGITS),
)

outcomes = FeatureView(
    name="outcomes",
    entities=[decision],
    ttl=timedelta(0),
    online=False,  # for training alone
    schema=[
        Field(name="decision_id", dtype=String),
        Field(name="value", dtype=Float64, description="What the decision counted for, as far as was known by then"),
        Field(name="answered", dtype=Bool, description="Whether a reward said so; else it is the policy's default"),
    ],
    source=parquet("outcomes_file", DATA / "outcomes.parquet"),  # `ooml outcomes` writes it from the event log
)

moment = RequestSource(
    name="moment",
    schema=[
        Field(name="request_time", dtype=Float64, description="Seconds since the epoch"),
        Field(name="utc_offset", dtype=Float64, description="The person's local time minus UTC, in seconds"),
    ],
)


@on_demand_feature_view(
    sources=[tasks, moment],
    schema=[Field(name=name, dtype=Float64) for name in ("hour_sin", "hour_cos", "is_overdue", "task_age", "priority")],
)
def tips_request(inputs: pd.DataFrame) -> pd.DataFrame:
    """What depends on the moment of the request."""
    from features.transforms import compute  # here: Feast rebuilds this function from its text, without what surrounds it

    return pd.DataFrame(compute(("hour_sin", "hour_cos", "is_overdue", "task_age", "priority"), inputs))


tips_v1 = FeatureService(name="tips_v1", features=[tips_request])
digits_v1 = FeatureService(name="digits_v1", features=[digits])
