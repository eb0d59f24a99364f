"""docs/runbooks.md has a section for each kind of incident, and monitoring.md every setting of the alerts."""

import re
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from monitoring.dashboard.runbooks import runbook_of
from monitoring.dashboard.settings import DashboardSettings
from monitoring.incidents import Objectives
from monitoring.incidents.alerts import AlertSettings
from monitoring.incidents.kinds import KINDS, runbook

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.mark.parametrize("kind", [*KINDS, "other"])
def test_each_kind_has_a_section_that_says_how_it_closes(kind: str):
    said = runbook_of(kind)
    assert len(said) > 100
    assert kind == "other" or "It closes" in said


def test_no_section_is_about_a_kind_that_is_not_there():
    anchors = set(re.findall(r"^## (\S+)$", (DOCS / "runbooks.md").read_text(), re.MULTILINE))
    assert anchors == {runbook(kind).partition("#")[2] for kind in [*KINDS, "other"]}


@pytest.mark.parametrize(
    ("document", "settings"),
    [("monitoring.md", AlertSettings), ("monitoring.md", Objectives), ("dashboard.md", DashboardSettings)],
)
def test_every_setting_is_described_with_its_default(document: str, settings: type[BaseSettings]):
    lines = (DOCS / document).read_text().splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| `OFFERRANK_")]
    described = {row[0].strip("`"): row[1:] for row in cells}
    for name, field in settings.model_fields.items():
        default = field.default
        text = default.get_secret_value() if hasattr(default, "get_secret_value") else default
        shown = "" if text is PydanticUndefined else "none" if text is None else f"`{text}`"
        assert described[f"OFFERRANK_{name.upper()}"] == [shown, field.description], name
