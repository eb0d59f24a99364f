"""One thing to tell: a change of an incident, as it stood then."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from domain.money import format_micros
from monitoring.incidents.incident import Change
from monitoring.incidents.kinds import SERVICE_LEVELS

_CHANGED = {
    Change.OPENED: "New",
    Change.REOPENED: "Back",
    Change.DEARER: "Dearer",
    Change.UNSILENCED: "No longer silenced",
    Change.CLOSED: "Over",
    Change.TESTED: "Test",
}


@dataclass(frozen=True, slots=True)
class Alert:
    """A change of an incident that is to be told."""

    seq: int
    """Of the history: the same for every attempt and receiver, so that what comes twice can be told."""
    incident: dict[str, Any]
    """As `Incident.to_json` wrote it then."""
    change: Change
    at_ms: int
    note: str
    market: str
    currency: str
    page_url: str | None
    calm: bool = False
    """Whether no incident is live any more."""

    @classmethod
    def of(
        cls, row: tuple[int, int, str, str, str], market: str, currency: str, page_url: str | None, calm: bool = False
    ) -> "Alert":
        """Args: row: seq, at_ms, change, note, told."""
        seq, at_ms, change, note, told = row
        return cls(seq, orjson.loads(told), Change(change), at_ms, note, market, currency, page_url, calm)

    @property
    def delivery(self) -> str:
        """The same for every attempt and receiver."""
        return f"{self.market}-{self.seq}"

    @property
    def id(self) -> str:
        """The incident's."""
        return str(self.incident["id"])

    @property
    def over(self) -> bool:
        """Whether nothing is wrong any more."""
        return self.change is Change.CLOSED

    @property
    def title(self) -> str:
        """One line of printable characters: values of features are in it, and those come from anywhere."""
        return _printable(str(self.incident["title"]))

    @property
    def cost_micros_per_day(self) -> int:
        """What it costs; 0 where nobody can say."""
        return int(self.incident["cost_micros_per_day"])

    @property
    def cost(self) -> str:
        """What it costs, in words."""
        micros = self.cost_micros_per_day
        return f"{format_micros(micros, self.currency)} a day" if micros else "cost unknown"

    @property
    def headline(self) -> str:
        """What happened and what it costs."""
        return f"{_CHANGED.get(self.change, str(self.change))}: {self.title}" + ("" if self.over else f" ({self.cost})")

    @property
    def size(self) -> str:
        """How large, against normal."""
        return _printable(str(self.incident["against_usual"]))

    @property
    def severity(self) -> str:
        """Of PagerDuty's four: a broken promise wakes people, what costs money is an error."""
        if self.incident["kind"] in SERVICE_LEVELS or self.incident["kind"] == "skew":
            return "critical"
        return "error" if self.cost_micros_per_day else "warning"

    @property
    def since(self) -> str:
        """When it began."""
        return f"{datetime.fromtimestamp(self.incident['since_ms'] / 1000, UTC):%Y-%m-%d %H:%M UTC}"

    @property
    def link(self) -> str | None:
        """The incident's page."""
        return f"{self.page_url.rstrip('/')}/incidents/{self.id}" if self.page_url else None


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:300]
