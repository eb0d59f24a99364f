"""Many changes told as one, in a storm: the incidents that they are of, the dearest first."""

from dataclasses import dataclass

from monitoring.incidents.alerts.alert import Alert

_SEVERITIES = ("warning", "error", "critical")
SHOWN = 20
"""Incidents that are listed where people read; programs get all."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What waited, in the order in which it happened; at least one."""

    alerts: tuple[Alert, ...]

    @property
    def ranked(self) -> list[Alert]:
        """The last change of each incident: by what it costs, those that are over last."""
        last = {alert.id: alert for alert in self.alerts}
        return sorted(last.values(), key=lambda a: (a.over, -a.cost_micros_per_day, -_SEVERITIES.index(a.severity)))

    @property
    def headline(self) -> str:
        """The first one, and how many there are."""
        first, *others = self.ranked
        return f"{len(others) + 1} incidents at once. {first.headline}" if others else first.headline

    @property
    def lines(self) -> list[str]:
        """One for each incident, up to `SHOWN`."""
        ranked = self.ranked
        more = [f"and {len(ranked) - SHOWN} more"] if len(ranked) > SHOWN else []
        return [*(f"{alert.headline}, {alert.size}" for alert in ranked[:SHOWN]), *more]

    @property
    def severity(self) -> str:
        """The worst of what is not over."""
        return max((a.severity for a in self.ranked if not a.over), key=_SEVERITIES.index, default="warning")

    @property
    def id(self) -> str:
        """Of the storm: digests are one thread."""
        return "storm"

    @property
    def seq(self) -> int:
        """That of its last change."""
        return self.alerts[-1].seq

    @property
    def delivery(self) -> str:
        """The same for every attempt that tells the same; `alerts` have their own."""
        return f"{self.market}-{self.alerts[0].seq}-{self.seq}"

    @property
    def at_ms(self) -> int:
        """When the last of them happened."""
        return self.alerts[-1].at_ms

    @property
    def market(self) -> str:
        """Of all of them."""
        return self.alerts[-1].market

    @property
    def calm(self) -> bool:
        """Whether no incident is live any more."""
        return self.alerts[-1].calm

    @property
    def link(self) -> str | None:
        """The page."""
        url = self.alerts[-1].page_url
        return f"{url.rstrip('/')}/" if url else None
