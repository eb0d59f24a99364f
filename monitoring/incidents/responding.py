"""Incidents that ask for a recalibration or a training, as the market lets them, with a brake against going in circles.

What is asked for is a line of the incident's history, which `offerrank retrain` and `recalibrate` read where they run
(`monitoring.incidents.requests`); what came of it is in runs.sqlite, beside the releases. So each file keeps its writers, and
nothing is trained here. What an incident may not ask for now is a line of its history, too, with the reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from features.monitoring_spec import ResponseSpec
from monitoring.incidents import reading
from monitoring.incidents.incident import Change, Entry, Incident, State
from monitoring.incidents.kinds import title
from monitoring.incidents.requests import ASKS, KINDS_OF_RUN, Action
from monitoring.incidents.store import LONGEST_NOTE, IncidentStore
from monitoring.summaries import Series, Slice
from store.runs import Run, recent_runs, runs_path
from store.sqlite import FileUnavailable

BROKEN_KINDS: Final = ("missing", "vanished_value", "tail", "skew")
BROKEN_FLOWS: Final = (
    *("impressions_per_filled_slot", "conversions_per_click", "clicks_without_impression", "conversions_without_click"),
    *("invalid_events", "invalid_pages"),
)
"""What says that features or labels are not what they seem: what is learned from them makes it worse. Clicks per impression are
none of them, since they move with shoppers' tastes, which is what a recalibration is for."""
RUNS: Final = 50
"""The newest runs in which an answer is looked for."""


@dataclass(frozen=True, slots=True)
class Responder:
    """Decides, hour by hour, what incidents ask for.

    Args:
      releases: whose runs say what came of the last ones; none asks for nothing.
    """

    store: IncidentStore
    policy: ResponseSpec
    releases: Path | None

    def respond(self, hour_ms: int, now_ms: int) -> None:
        """After an hour was observed: answers that have come, then at most one request; the dearest incident comes first.

        Raises:
          FileUnavailable: see `IncidentStore`.
        """
        if not (self.policy.recalibrate or self.policy.retrain):
            return
        db = self.store.connection
        with self.store.writing():
            live = [i for i in reading.live_incidents(db) if self._actions(i)]
            if not live:
                return
            runs, trouble = self._runs()
            broken, refused = self._broken(), trouble or _refused(runs)
            for incident in live:
                entries = reading.history(db, incident.id)
                waiting = self._waits(incident, entries, runs, now_ms)
                if waiting or incident.last_seen_ms != hour_ms:
                    continue  # maybe over
                asked = {e.change for e in entries}
                left = [a for a in self._actions(incident) if ASKS[a] not in asked]
                why_not = _not_now(incident, left) or broken or refused or self._brake()
                if not why_not:
                    self._say(incident, ASKS[left[0]], f"{incident.title}: {incident.against_usual}", now_ms)
                elif _line(why_not) != next((e.note for e in reversed(entries) if e.change is Change.NOT_ASKED), ""):
                    self._say(incident, Change.NOT_ASKED, why_not, now_ms)

    def _say(self, incident: Incident, change: Change, note: str, now_ms: int) -> None:
        self.store.append(incident.id, change, now_ms, note=_line(note))

    def _actions(self, incident: Incident) -> list[Action]:
        """The cheaper one first."""
        may: list[tuple[Action, Sequence[str]]] = [("recalibrate", self.policy.recalibrate), ("retrain", self.policy.retrain)]
        return [action for action, kinds in may if incident.kind in kinds]

    def _waits(self, incident: Incident, entries: Sequence[Entry], runs: Sequence[Run], now_ms: int) -> bool:
        """Whether what was asked for last has no answer yet; notes what came of it, once its run has ended."""
        last = _unanswered(entries)
        if last is None:
            return False
        action = next(a for a, change in ASKS.items() if change is last.change)
        done = [r for r in runs if r.kind in KINDS_OF_RUN[action] and r.began_ms >= last.at_ms and r.outcome]
        if done:
            run = min(done, key=lambda r: r.began_ms)
            said = f"release {run.release}" if run.release else f"{run.outcome}: {run.why}"
            self._say(incident, Change.ANSWERED, f"{run.kind} {run.id}: {said}", now_ms)
        return not done

    def _broken(self) -> str:
        """Which live incident says that data is broken; "" for none."""
        kinds, flows = (", ".join("?" * len(names)) for names in (BROKEN_KINDS, BROKEN_FLOWS))
        query = (
            "SELECT e.kind, e.series_kind, e.series_name, e.slice_by, e.slice_value"
            " FROM evidence AS e JOIN incidents ON id = incident_id"
            f" WHERE state <> 'closed' AND hour_ms = last_seen_ms AND (e.kind IN ({kinds})"
            f" OR e.kind = 'flow' AND e.series_name IN ({flows})) ORDER BY 1, 3, 5 LIMIT 1"
        )
        row = self.store.connection.execute(query, (*BROKEN_KINDS, *BROKEN_FLOWS)).fetchone()
        if row is None:
            return ""
        return f"data is broken, and nothing is to be learned from it: {title(row[0], Series(*row[1:3]), Slice(*row[3:5]))}"

    def _brake(self) -> str:
        """The request after which too few hours were looked at; "" for none. By hours of the market, as clocks may jump."""
        db, least = self.store.connection, self.policy.least_hours
        query = "SELECT incident_id, at_ms FROM history WHERE change IN (?, ?) ORDER BY seq DESC LIMIT 1"
        last = db.execute(query, tuple(ASKS.values())).fetchone()
        if last is None:
            return ""
        since = "SELECT count(*) FROM hours WHERE turn > (SELECT coalesce(max(turn), 0) FROM hours WHERE at_ms = ?)"
        (hours,) = db.execute(since, (last[1],)).fetchone()
        return f"{last[0]} has asked for one, less than {least} hours before" if hours < least else ""

    def _runs(self) -> tuple[list[Run], str]:
        """The newest first, and what is wrong if they cannot be known."""
        if self.releases is None:
            return [], "where releases are is not said (OFFERRANK_RELEASES), so nobody knows whether the last one was refused"
        if not runs_path(self.releases).exists():
            return [], ""
        try:
            return recent_runs(self.releases, RUNS), ""
        except FileUnavailable:
            return [], "runs.sqlite cannot be read, so nobody knows whether the last release was refused"


def _line(note: str) -> str:
    """As it is kept: values of features are in it, and those come from anywhere, while it is logged where it is answered."""
    return "".join(c if c.isprintable() else " " for c in note)[:LONGEST_NOTE]


def _unanswered(entries: Sequence[Entry]) -> Entry | None:
    """What was asked for last, if nothing has come of it yet."""
    last = next((e for e in reversed(entries) if e.change in (*ASKS.values(), Change.ANSWERED)), None)
    return None if last is None or last.change is Change.ANSWERED else last


def _not_now(incident: Incident, left: Sequence[Action]) -> str:
    if incident.state is State.ACKNOWLEDGED:
        return "somebody works on it"
    if incident.state is State.SILENCED:
        return "it is silenced"
    return "" if left else "what it may ask for was asked for before, and did not end it"


def _refused(runs: Sequence[Run]) -> str:
    """Why a gate refused the last model that came to its gates, if one did: the next would be no better."""
    judged = (r for r in runs if r.outcome in ("released", "refused"))
    last = max(judged, key=lambda r: r.ended_ms or r.began_ms, default=None)
    return f"the last release was refused: {last.why}" if last is not None and last.outcome == "refused" else ""
