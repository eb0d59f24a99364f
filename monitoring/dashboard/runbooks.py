"""The section of docs/runbooks.md that is about a kind of incident, for those who stand before one."""

import re
from functools import cache
from pathlib import Path

from monitoring.incidents.kinds import KINDS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "runbooks.md"


def runbook_of(kind: str) -> str:
    """Its text in Markdown; "" where the documents are not installed."""
    return _sections().get(kind if kind in KINDS else "other", "")


@cache
def _sections() -> dict[str, str]:
    try:
        text = DOCUMENT.read_text("utf-8")
    except OSError:
        return {}
    parts = re.split(r"^## (\S+)$", text, flags=re.MULTILINE)
    return {name.replace("-", "_"): body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}
