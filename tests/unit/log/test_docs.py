"""docs/event-log.md, docs/dashboard.md and docs/monitoring.md name every setting, column and status."""

from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from domain.events import EventStatus, EventType
from features.log_schema import event_schema
from monitoring.dashboard import DashboardSettings
from monitoring.watch import WatchSettings
from serving.archiver import ArchiverSettings

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.mark.parametrize(
    ("page", "settings"),
    [("event-log.md", ArchiverSettings), ("dashboard.md", DashboardSettings), ("monitoring.md", WatchSettings)],
)
def test_every_setting_is_documented(page: str, settings: type[BaseSettings]) -> None:
    text = (DOCS / page).read_text()
    assert [name for name in settings.model_fields if f"`OFFERRANK_{name.upper()}`" not in text] == []


def test_every_event_column_and_status_is_documented() -> None:
    text = (DOCS / "event-log.md").read_text()
    logged = set(EventStatus) - {EventStatus.DUPLICATE}
    assert [word for word in (*event_schema().names, *EventType, *logged) if f"`{word}`" not in text] == []
