"""The name of a market without its catalogue."""

from pathlib import Path

import pytest

from features.market_name import market_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('name = "corner"\ncurrency = "EUR"\n[[offers]]\nid = "o"\n', "corner"),
        ('# shop\ncurrency = "EUR"\nname = \'corner\' # ours\nplacements = [{ name = "main" }]\n', "corner"),
        # What stands behind the first table is not even read.
        ('name = "corner"\n  [[offers]]\nthis is no TOML', "corner"),
        # A bracket at the beginning of a line need not be a table.
        # Windows' editors begin with a byte order mark.
        ('\ufeffname = "corner"\n[policy]\n', "corner"),
        ('placements = [\n  { name = "main" },\n]\nslots = [\n[1],\n]\nname = "corner"\n[policy]\n', "corner"),
    ],
)
def test_it_is_found_wherever_toml_may_have_it(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "market.toml").write_text(text)
    assert market_name(tmp_path / "market.toml") == name


@pytest.mark.parametrize("text", ["", '[policy]\nname = "no"\n', "name = 3\n", "name = [\n[3],\n"])
def test_a_file_without_one_is_a_value_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "market.toml").write_text(text)
    with pytest.raises(ValueError, match=r"market.toml: name: expected a string|Invalid value"):
        market_name(tmp_path / "market.toml")
