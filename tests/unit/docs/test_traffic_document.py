"""docs/traffic.md has every reason."""

import re
from pathlib import Path

from domain.traffic import InvalidTraffic

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "traffic.md").read_text()


def test_every_reason_is_described() -> None:
    table = DOCUMENT.partition("| reason |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(InvalidTraffic)
