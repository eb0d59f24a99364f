"""Settings of the model server, and the page that explains them."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from serving.model_server.settings import ModelServerSettings

PAGE = Path(__file__).resolve().parents[3] / "docs" / "model-server.md"


def test_flags_have_the_names_of_tf_servings(tmp_path: Path) -> None:
    flags = ["--model-base-path", str(tmp_path), "--port", "1", "--rest-port", "2", "--model-name", "x"]
    settings = CliApp.run(ModelServerSettings, cli_args=flags)
    assert (settings.model_base_path, settings.port, settings.rest_port, settings.model_name) == (tmp_path, 1, 2, "x")


@pytest.mark.parametrize(
    ("field", "value"), [("port", 65536), ("versions_kept", 0), ("poll_interval_s", 0), ("model_name", ""), ("drain_s", -1)]
)
def test_a_value_that_makes_no_sense_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        ModelServerSettings(model_base_path=Path(), **{field: value})  # type: ignore[arg-type]


def test_the_page_lists_every_setting_with_its_default_and_meaning() -> None:
    rows = dict(re.findall(r"^\| `OFFERRANK_(\w+)` \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE))
    assert rows.keys() == {name.upper() for name in ModelServerSettings.model_fields}
    for name, field in ModelServerSettings.model_fields.items():
        match "required" if field.is_required() else field.default:
            case "required":
                shown = "required"
            case None:
                shown = "none"
            case str(text):
                shown = f"`{text}`"
            case number:
                shown = f"{number:g}"
        assert rows[name.upper()].startswith(f"{shown} | "), name
        if name != "model_base_path":
            assert rows[name.upper()] == f"{shown} | {field.description}"
