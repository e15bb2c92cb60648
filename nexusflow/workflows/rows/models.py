"""The engine's tables as SQLAlchemy sees them; their home is the migrations."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, UUID

metadata = sa.MetaData()
_TIME = sa.DateTime(timezone=True)


def _id(name: str, *, primary_key: bool = False) -> "sa.Column[str]":
    return sa.Column(name, UUID(as_uuid=False), primary_key=primary_key)


tenants = sa.Table(
    "tenants", metadata, _id("id", primary_key=True), sa.Column("name", sa.Text), sa.Column("plan", sa.Text)
)

workflows = sa.Table(
    "workflows",
    metadata,
    _id("id", primary_key=True),
    _id("tenant_id"),
    sa.Column("name", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("config", JSONB),
    _id("created_by"),
    sa.Column("created_at", _TIME),
    sa.Column("updated_at", _TIME),
    sa.Column("published_version", sa.Integer),
    sa.Column("deleted_at", _TIME),
)

workflow_versions = sa.Table(
    "workflow_versions",
    metadata,
    _id("id", primary_key=True),
    _id("tenant_id"),
    _id("workflow_id"),
    sa.Column("number", sa.Integer),
    sa.Column("digest", sa.Text),
    sa.Column("source", sa.Text),
    sa.Column("config", JSONB),
    sa.Column("plan", JSONB),
    sa.Column("created_at", _TIME),
)

files = sa.Table(
    "files",
    metadata,
    _id("id", primary_key=True),
    _id("tenant_id"),
    sa.Column("name", sa.Text),
    sa.Column("media_type", sa.Text),
    sa.Column("size", sa.BigInteger),
    sa.Column("sha256", sa.Text),
    sa.Column("kept_at", sa.Text),
    sa.Column("created_at", _TIME),
)

runs = sa.Table(
    "runs",
    metadata,
    _id("id", primary_key=True),
    _id("tenant_id"),
    _id("workflow_id"),
    _id("version_id"),
    sa.Column("status", sa.Text),
    sa.Column("ending", sa.Text),
    sa.Column("ending_at", _TIME),
    sa.Column("cause", sa.Text),
    sa.Column("input", JSONB),
    sa.Column("input_at", sa.Text),
    sa.Column("output", JSONB),
    sa.Column("output_at", sa.Text),
    sa.Column("error", JSONB),
    sa.Column("accepted_at", _TIME),
    sa.Column("started_at", _TIME),
    sa.Column("finished_at", _TIME),
    sa.Column("deadline", _TIME),
    _id("rerun_of"),
    sa.Column("rerun_from", sa.Text),
    _id("origin"),
    sa.Column("fresh", JSONB),
)

steps = sa.Table(
    "steps",
    metadata,
    _id("run_id", primary_key=True),
    sa.Column("step", sa.Text, primary_key=True),
    sa.Column("item", sa.Text, primary_key=True),
    _id("tenant_id"),
    sa.Column("state", sa.Text),
    sa.Column("attempts", sa.Integer),
    sa.Column("output", JSONB),
    sa.Column("output_at", sa.Text),
    sa.Column("error", JSONB),
    sa.Column("items", JSONB),
    sa.Column("items_at", sa.Text),
    sa.Column("items_count", sa.Integer),
    sa.Column("cursor", sa.Integer),
    sa.Column("started_at", _TIME),
    sa.Column("finished_at", _TIME),
    _id("kept_from"),
    sa.Column("unpassed", sa.Boolean),
)

run_events = sa.Table(
    "run_events",
    metadata,
    _id("run_id", primary_key=True),
    sa.Column("id", sa.BigInteger, primary_key=True),
    _id("tenant_id"),
    sa.Column("at", _TIME),
    sa.Column("type", sa.Text),
    sa.Column("step", sa.Text),
    sa.Column("item", sa.Text),
    sa.Column("data", JSONB),
)

segments = sa.Table(
    "segments",
    metadata,
    _id("run_id", primary_key=True),
    sa.Column("segment", sa.Integer, primary_key=True),
    sa.Column("item", sa.Text, primary_key=True),
    sa.Column("lo", sa.Integer, primary_key=True),
    sa.Column("hi", sa.Integer),
    _id("tenant_id"),
    sa.Column("queue", sa.Text),
    sa.Column("state", sa.Text),
    sa.Column("due_at", _TIME),
    sa.Column("published_at", _TIME),
    sa.Column("fence", UUID(as_uuid=False)),
    sa.Column("worker", sa.Text),
    sa.Column("lease_until", _TIME),
    sa.Column("patience", sa.Float),
    sa.Column("attempts", sa.Integer),
    sa.Column("losses", sa.Integer),
)
