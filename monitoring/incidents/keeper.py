"""Everything the watch needs of the incidents, as one thing: it counts, observes, tells, and never keeps the watch waiting."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from domain.clock import now_ms
from features.monitoring_spec import ResponseSpec
from monitoring.incidents.alerts import AlertSettings, Sender
from monitoring.incidents.database import INCIDENTS, incidents_path
from monitoring.incidents.incident import Found
from monitoring.incidents.looks import Looks
from monitoring.incidents.minutes import keep_counts, kept_counts
from monitoring.incidents.responding import Responder
from monitoring.incidents.service_levels import Objectives, burning, count_decisions
from monitoring.incidents.store import Habits, IncidentStore
from store.sqlite import transaction


class Keeper:
    """The incidents of one market's archive.

    Args:
      hour_length_ms: the 24th part of the market's budget day.
      gateway_url: whose readiness is the availability; none is not looked at.
      response: what incidents may ask for; nothing, unless given.
      releases: see `Responder`.
    Raises, here and in every method:
      FileUnavailable: see `IncidentStore`.
    """

    def __init__(
        self,
        log_dir: Path,
        market: str,
        currency: str,
        hour_length_ms: int,
        alerts: AlertSettings,
        objectives: Objectives,
        gateway_url: str | None = None,
        response: ResponseSpec | None = None,
        releases: Path | None = None,
    ) -> None:
        self.path = incidents_path(log_dir)
        self._hour_ms, self._objectives = hour_length_ms, objectives
        self._store = IncidentStore(self.path, Habits(hour_length_ms), whole=True)
        self._responder = Responder(self._store, response or ResponseSpec(), releases)
        self._sender = Sender(self.path, alerts, market, currency)
        self._looks = Looks(self.path, gateway_url, hour_length_ms) if gateway_url else None

    def start(self) -> None:
        """Starts to tell, and to look at the gateway, in threads of their own."""
        self._sender.start()
        if self._looks:
            self._looks.start()

    def stop(self) -> None:
        """Ends; what was not told yet is told after the next start."""
        if self._looks:
            self._looks.stop()
        self._sender.stop()
        self._store.close_file()

    def count(self, source: str, decisions: pa.Table, at_ms: int | None = None) -> None:
        """Counts what decisions say of the service levels; a source that comes again is counted once.

        Args:
          source: name of the part.
          decisions: as `count_decisions` takes them.
          at_ms: when; now, unless given.
        """
        counts = count_decisions(decisions, self._objectives, self._hour_ms)
        db = self._store.connection
        with INCIDENTS.named_errors(self.path), transaction(db):
            keep_counts(db, source, counts, self._hour_ms, now_ms() if at_ms is None else at_ms)

    def observe(self, hour_ms: int, findings: Sequence[Found], at_ms: int, streams: int = 0) -> None:
        """Takes over what was found in an hour, `IncidentStore.observe`, and asks for what it calls for, `Responder`."""
        self._store.observe(hour_ms, findings, at_ms, streams)
        self._responder.respond(hour_ms, at_ms)

    def observe_standing(self, series_kind: str, found: Sequence[Found], at_ms: int) -> None:
        """Takes over what is so now: `IncidentStore.observe_standing`."""
        self._store.observe_standing(series_kind, found, at_ms)

    def turn(self, at_ms: int, micros_per_page: float = 0.0) -> None:
        """What is due now and then: silences that end, service levels that burn.

        Args:
          micros_per_page: what a page earns, which one that is not answered costs.
        """
        self._store.wake(at_ms)
        db = self._store.connection
        with INCIDENTS.named_errors(self.path):
            counts = kept_counts(db)
        if counts:
            # By the log's time, not by this machine's: an archive that is read late burns as it did.
            newest = max(int(c.minute_ms[-1]) for c in counts.values())
            self._store.observe_levels(burning(counts, self._objectives, self._hour_ms, micros_per_page), newest, at_ms)
