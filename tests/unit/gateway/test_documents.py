"""docs/redis.md, docs/metrics.md and docs/api.md name everything there is."""

import inspect
import re
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase
from pydantic_core import PydanticUndefined

from domain.events import REPORTED, EventStatus
from domain.keys import Keys, partition_of
from features.log_schema import event_schema
from monitoring import metrics
from serving.gateway.settings import GatewaySettings

DOCS = Path(__file__).resolve().parents[3] / "docs"
STANDS_FOR = {
    "campaign": "CAMPAIGN",
    "day": "DAY",
    "impression_id": "IMPRESSION",
    "sender": "SENDER",
    "decision_id": "DECISION",
    "shopper_key": "SHOPPER",
    "order_id": "ORDER",
    "partition": "PARTITION",
}


def key_patterns() -> set[str]:
    """Every key of domain.keys, as the document writes it."""
    keys, patterns = Keys("MARKET"), set()
    for name, member in vars(Keys).items():
        if isinstance(member, property):
            patterns.add(getattr(keys, name))
        elif inspect.isfunction(member) and not name.startswith("_"):
            parameters = list(inspect.signature(member).parameters)[1:]
            patterns.add(member(keys, *(STANDS_FOR[p] for p in parameters)))
    partition = f"{{MARKET:{partition_of('CAMPAIGN')}}}"
    return {p.replace(partition, "{MARKET:PARTITION}") for p in patterns}


def rows(document: str) -> list[list[str]]:
    """Table rows that begin with code."""
    text = (DOCS / document).read_text()
    return [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in text.splitlines() if line.startswith("| `")]


def test_every_redis_key_is_described_and_no_other():
    described = {row[0].strip("`") for row in rows("redis.md") if row[0].startswith("`or:")}
    assert described == key_patterns()
    assert all(len(row) == 5 for row in rows("redis.md") if row[0].startswith("`or:"))


def test_every_field_of_the_event_stream_is_described():
    script = (DOCS.parent / "serving" / "lua" / "settle.lua").read_text()
    assert "'status', status, 'charged_micros', charged, 'day', on" in script
    fields = {f.name for f in event_schema()} - {"stream_id", "partition", "beyond"}
    for document in ("redis.md", "event-log.md"):
        assert fields <= {name for row in rows(document) for name in re.findall(r"`(\w+)`", row[0])}, document


def test_every_metric_is_described_with_its_type_and_labels():
    described = {(row[0].strip("`"), row[1], tuple(re.findall(r"\w+", row[2]))) for row in rows("metrics.md") if len(row) == 4}
    existing = set()
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            name = metric._name + ("_total" if metric._type == "counter" else "")
            existing.add((name, metric._type, tuple(metric._labelnames)))
    assert described == existing


def test_every_setting_is_described_with_its_default():
    described = {row[0].strip("`"): (row[1], row[2]) for row in rows("api.md") if row[0].startswith("`OFFERRANK_")}
    for name, field in GatewaySettings.model_fields.items():
        default = "required" if field.default is PydanticUndefined else "none" if field.default is None else f"`{field.default}`"
        assert described.pop(f"OFFERRANK_{name.upper()}") == (default, field.description)
    assert not described


def test_every_status_and_type_of_event_is_described():
    first = {row[0].strip("`") for row in rows("api.md")}
    assert {s.value for s in EventStatus} | {t.value for t in REPORTED} | {"test"} <= first
