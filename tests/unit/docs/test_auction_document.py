"""The example in docs/auction.md runs, and the document knows every reason."""

import re
from pathlib import Path

from domain.outcome import Reason

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "auction.md").read_text()


def test_the_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    exec(compile(example, "docs/auction.md", "exec"), {})


def test_every_reason_is_listed_with_its_code() -> None:
    listed = {(int(code), name) for code, name in re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", DOCUMENT, re.MULTILINE)}
    assert listed == {(int(r), r.name) for r in Reason if r is not Reason.WON}
