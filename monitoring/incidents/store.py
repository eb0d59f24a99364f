"""Keeps incidents: what was found becomes one, is told, is taken care of, and ends. Every change is appended to its history.

Several processes write, each change in one short transaction that reads what it changes: they wait for each other for
milliseconds, and one that is killed leaves everything or nothing of a change. The same hour may be observed any number of times.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isnan
from pathlib import Path

import orjson

from domain.errors import InvalidRequest
from monitoring.incidents import reading
from monitoring.incidents.database import INCIDENTS
from monitoring.incidents.grouping import group
from monitoring.incidents.incident import TOLD, Change, Found, Incident, State, Stream
from monitoring.summaries import ALL
from store.sqlite import transaction

DEARER = 2.0
"""Times what it cost when it was told last, at which an incident is told again."""
MOST_SILENCE_MS = 30 * 86_400_000
KEPT_HOURS = 13 * 31 * 24
"""For which evidence is kept: 13 months."""
LONGEST_NOTE = 500
LEVEL = "level"
"""Kind of the series of a service level."""
SKEW, REPLAY = "skew", "replay"
"""Kinds of incident that another process than the watch finds, from samples of its own."""
MONEY, PROCESS = "money", "process"
"""Kinds of the series of what is so now, as seen from outside of the log."""
_OTHERS = f"(series_kind IN ('{LEVEL}', '{MONEY}', '{PROCESS}') OR kind IN ('{SKEW}', '{REPLAY}'))"
"""What the watch's hours say nothing of."""


_WIDER = (
    "SELECT id, state, opened_ms FROM members JOIN incidents ON id = incident_id WHERE members.kind = ?"
    " AND members.series_kind = ? AND members.series_name = ? AND (? = '' OR incidents.slice_by = '') AND state <> 'closed'"
    " ORDER BY opened_ms DESC LIMIT 1"
)
"""The live incident of the same kind and series of which a slice is a part, or which is a part of all traffic: as evidence comes,
another slice explains the same thing better."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How long things take, in hours of the market that were looked at."""

    hour_length_ms: int = 3_600_000
    quiet_hours: int = 6
    """Without a finding, after which an incident closes by itself."""
    reopen_hours: int = 168
    """After closing, within which what comes back is the same incident."""


class NoSuchIncident(InvalidRequest):
    """An id that no incident has."""

    def __init__(self, incident_id: str) -> None:
        super().__init__("incident", "the id of one there is", incident_id)


class IncidentStore:
    """One connection to the incidents of a market, for one thread at a time.

    Args:
      whole: finds damage anywhere in the file when it is opened.
    Raises, in every method:
      FileDamaged: the file is no use any more.
      FileUnavailable: full disk, locked, no permission; nothing of the call was written.
    """

    def __init__(self, path: Path, habits: Habits | None = None, whole: bool = False) -> None:
        self.path = path
        self._habits = habits or Habits()
        self._db = INCIDENTS.open_to_write(path, whole)

    def close_file(self) -> None:
        """Closes the connection."""
        self._db.close()

    def observe(self, hour_ms: int, findings: Sequence[Found], now_ms: int, streams: int = 0) -> None:
        """Takes over what was found in one hour that is complete; of one that was observed before, what is found now.

        Args:
          hour_ms: start of the hour.
          findings: all of this hour; none says that it was quiet.
          streams: how many series in slices were judged.
        """
        with self.writing():
            turn = self._turn(hour_ms, now_ms, streams, len(findings))
            self._unsilence(now_ms)
            # What an hour said when it was looked at before is replaced; which incidents it belongs to stays.
            self._db.execute(f"DELETE FROM evidence WHERE hour_ms = ? AND NOT {_OTHERS}", (hour_ms,))
            for found in group(findings, self._habits.hour_length_ms):
                self._take(found, hour_ms, turn, now_ms)
            self._close_quiet(now_ms)
            # By turns, for a clock that jumped years ahead must not take the evidence with it.
            self._db.execute("DELETE FROM hours WHERE turn <= (SELECT max(turn) FROM hours) - ?", (KEPT_HOURS,))
            self._db.execute("DELETE FROM evidence WHERE hour_ms < (SELECT min(hour_ms) FROM hours)")

    def observe_levels(self, burning: Sequence[Found], minute_ms: int, now_ms: int) -> None:
        """Takes over which service levels burn as of a minute. One that has not burnt for an hour closes.

        Args:
          burning: findings of the series' kind `LEVEL`.
        """
        self._observe_now(LEVEL, burning, minute_ms, now_ms, self._habits.hour_length_ms, "has not burnt for an hour")

    def observe_standing(self, series_kind: str, found: Sequence[Found], now_ms: int) -> None:
        """Takes over what is so now, all there is of a kind of series; what has not been so for the 12th part of an hour closes.

        Args:
          found: of the series' kind, `MONEY` or `PROCESS`; none says that all is well.
        """
        quiet_ms = self._habits.hour_length_ms // 12
        self._observe_now(series_kind, found, now_ms, now_ms, quiet_ms, "is not so any more")

    def _observe_now(self, series_kind: str, found: Sequence[Found], at_ms: int, now_ms: int, quiet_ms: int, note: str) -> None:
        (turn,) = self._db.execute("SELECT coalesce(max(turn), 0) FROM hours").fetchone()
        step = max(self._habits.hour_length_ms // 12, 1)
        with self.writing():
            for one in found:
                self._take([one], at_ms // step * step, turn, now_ms, told_at_once=True)
            # What was seen in the future was seen by a clock that was wrong.
            query = (
                "SELECT id FROM incidents WHERE state <> 'closed' AND series_kind = ?"
                " AND (last_seen_ms < ? OR last_seen_ms > ?) ORDER BY id"
            )
            for (incident_id,) in self._db.execute(query, (series_kind, at_ms - quiet_ms, at_ms)).fetchall():
                self._close(incident_id, now_ms, note=note)

    def observe_skew(self, hour_ms: int, findings: Sequence[Found], now_ms: int, kind: str = SKEW) -> None:
        """Takes over what came out otherwise when an hour was recomputed, of all releases; one clean hour closes.

        Args:
          findings: of this kind.
          kind: `SKEW`, what training would have had otherwise, or `REPLAY`, what is decided otherwise.
        """
        (turn,) = self._db.execute("SELECT coalesce(max(turn), 0) FROM hours").fetchone()
        with self.writing():
            self._db.execute("DELETE FROM evidence WHERE hour_ms = ? AND kind = ?", (hour_ms, kind))
            for found in group(findings, self._habits.hour_length_ms):
                self._take(found, hour_ms, turn, now_ms, told_at_once=True)
            query = "SELECT id FROM incidents WHERE state <> 'closed' AND kind = ? AND last_seen_ms < ? ORDER BY id"
            for (incident_id,) in self._db.execute(query, (kind, hour_ms)).fetchall():
                self._close(incident_id, now_ms, note="an hour was recomputed without a difference")

    def wake(self, now_ms: int) -> None:
        """Ends the silences whose time is up."""
        with self.writing():
            self._unsilence(now_ms)

    def acknowledge(self, incident_id: str, by: str, now_ms: int, note: str = "") -> None:
        """Somebody works on it.

        Raises:
          InvalidRequest: there is no such incident, it is closed, or the note is too long; so in the next ones.
        """
        with self.writing():
            if self._live(incident_id).state is not State.ACKNOWLEDGED:
                self._db.execute("UPDATE incidents SET silenced_until_ms = NULL WHERE id = ?", (incident_id,))
                self._set(incident_id, State.ACKNOWLEDGED, Change.ACKNOWLEDGED, now_ms, by, note)

    def silence(self, incident_id: str, until_ms: int, by: str, now_ms: int, note: str = "") -> None:
        """Tells nobody until then, at most 30 days from now."""
        if not now_ms < until_ms <= now_ms + MOST_SILENCE_MS:
            raise InvalidRequest("until_ms", f"a time within the next {MOST_SILENCE_MS // 86_400_000} days", until_ms)
        with self.writing():
            self._live(incident_id)
            self._db.execute("UPDATE incidents SET silenced_until_ms = ? WHERE id = ?", (until_ms, incident_id))
            until = f"{datetime.fromtimestamp(until_ms / 1000, UTC):until %Y-%m-%d %H:%M UTC}"
            self._set(incident_id, State.SILENCED, Change.SILENCED, now_ms, by, f"{until}; {note}" if note else until)

    def close(self, incident_id: str, by: str, now_ms: int, note: str = "") -> None:
        """It is over. What is found of it in a later hour opens it again."""
        with self.writing():
            self._live(incident_id)
            self._close(incident_id, now_ms, by, note)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction."""
        with INCIDENTS.named_errors(self.path), transaction(self._db):
            yield

    def _turn(self, hour_ms: int, now_ms: int, streams: int, findings: int) -> int:
        # Apart, as an upsert uses up a turn even where the hour has one.
        said = {"hour": hour_ms, "at": now_ms, "streams": streams, "findings": findings}
        again = "UPDATE hours SET at_ms = :at, streams = :streams, findings = :findings WHERE hour_ms = :hour RETURNING turn"
        new = "INSERT INTO hours (hour_ms, at_ms, streams, findings) VALUES (:hour, :at, :streams, :findings) RETURNING turn"
        (turn,) = self._db.execute(again, said).fetchone() or self._db.execute(new, said).fetchone()
        return int(turn)

    def _take(self, found: Sequence[Found], hour_ms: int, turn: int, now_ms: int, told_at_once: bool = False) -> None:
        """Gives a group's findings to the incidents that they are of."""
        lead = Stream.of(found[0])
        owners = {Stream.of(f): self._owner(Stream.of(f)) for f in found}
        live = [o for o in owners.values() if o is not None and o[1] != State.CLOSED]
        leads = owners[lead]
        if leads is not None and leads[1] != State.CLOSED:
            target = leads[0]
        elif live:
            target = min(live, key=lambda o: o[2])[0]
        elif leads is not None and self._comes_back(leads[0], turn):
            target = leads[0]
        else:
            target = self._open(found[0], hour_ms, turn, now_ms)
        touched: dict[str, list[Found]] = {target: []}
        for one in found:
            owner = owners[Stream.of(one)]
            mine = owner[0] if owner is not None and owner[1] != State.CLOSED else target
            touched.setdefault(mine, []).append(one)
        for incident_id, members in touched.items():
            if members:
                self._update(incident_id, members, hour_ms, turn, now_ms, told_at_once)

    def _owner(self, stream: Stream) -> tuple[str, State, int] | None:
        """Id, state and opening of the newest incident that the stream belongs to, a live one before any other."""
        query = (
            "SELECT id, state, opened_ms FROM members JOIN incidents ON id = incident_id WHERE members.kind = ?"
            " AND members.series_kind = ? AND members.series_name = ? AND members.slice_by = ? AND members.slice_value = ?"
            " ORDER BY state = 'closed', opened_ms DESC LIMIT 1"
        )
        row = self._db.execute(query, _flat(stream)).fetchone()
        if row is None or row[1] == State.CLOSED:
            row = self._db.execute(_WIDER, (*_flat(stream)[:3], stream.slice.by)).fetchone() or row
        return (row[0], State(row[1]), row[2]) if row else None

    def _comes_back(self, incident_id: str, turn: int) -> bool:
        """Whether a finding of this turn is of a closed incident; if it was closed before that turn, it opens again."""
        (closed,) = self._db.execute("SELECT closed_turn FROM incidents WHERE id = ?", (incident_id,)).fetchone()
        return closed is None or turn - int(closed) <= self._habits.reopen_hours

    def _open(self, lead: Found, hour_ms: int, turn: int, now_ms: int) -> str:
        (known,) = self._db.execute("SELECT count(*) FROM incidents").fetchone()
        digest = hashlib.sha256(f"{Stream.of(lead)} {hour_ms} {known}".encode()).hexdigest()
        incident_id = f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%d}-{digest[:8]}"
        marks = ", ".join("?" * 21)
        self._db.execute(
            f"INSERT INTO incidents VALUES ({marks})",
            (
                *(incident_id, *_flat(Stream.of(lead)), lead.release, State.OPEN, now_ms, lead.since_ms, hour_ms, None, None),
                *(*_numbers(lead), lead.cost_micros_per_day, _json(lead.detail)),
                *(lead.cost_micros_per_day, turn, None),
            ),
        )
        return incident_id

    def _update(
        self, incident_id: str, members: Sequence[Found], hour_ms: int, turn: int, now_ms: int, told_at_once: bool
    ) -> None:
        before = self._get(incident_id)
        keep = "INSERT OR IGNORE INTO members VALUES (?, ?, ?, ?, ?, ?)"
        self._db.executemany(keep, [(*_flat(Stream.of(f)), incident_id) for f in members])
        new = f"INSERT OR REPLACE INTO evidence VALUES ({', '.join('?' * 12)})"
        rows = [(incident_id, hour_ms, *_flat(Stream.of(f)), f.release, *_numbers(f), f.cost_micros_per_day) for f in members]
        self._db.executemany(new, rows)
        seen, told, closed = self._db.execute(
            "SELECT seen_turn, told_micros_per_day, closed_turn FROM incidents WHERE id = ?", (incident_id,)
        ).fetchone()
        if not told_at_once and (turn < seen or (before.state is State.CLOSED and turn <= (closed or 0))):
            return  # an hour of before, looked at again
        lead, named = self._name(before, members)
        cost = max(f.cost_micros_per_day for f in members)
        self._db.execute(
            "UPDATE incidents SET kind = ?, series_kind = ?, series_name = ?, slice_by = ?, slice_value = ?, release = ?,"
            " since_ms = min(since_ms, ?), last_seen_ms = ?, size = ?, usual = ?, evidence = ?, cost_micros_per_day = ?,"
            " detail = ?, seen_turn = ? WHERE id = ?",
            (
                *(*(_flat(_stream(before)) if named else _flat(Stream.of(lead))), lead.release),
                *(min(f.since_ms for f in members), hour_ms, *((before.size, before.usual) if named else _numbers(lead)[:2])),
                *(_numbers(lead)[2], cost, _json(before.detail if named else lead.detail), turn, incident_id),
            ),
        )
        if not self._db.execute("SELECT 1 FROM history WHERE incident_id = ? LIMIT 1", (incident_id,)).fetchone():
            self.append(incident_id, Change.OPENED, now_ms)
        elif before.state is State.CLOSED:
            silenced = (before.silenced_until_ms or 0) > now_ms
            self._db.execute("UPDATE incidents SET closed_ms = NULL, closed_turn = NULL WHERE id = ?", (incident_id,))
            self._set(incident_id, State.SILENCED if silenced else State.OPEN, Change.REOPENED, now_ms)
        else:
            if not named and Stream.of(lead) != _stream(before):
                self.append(incident_id, Change.NARROWED, now_ms, note=f"{before.title} → {self._get(incident_id).title}")
            if cost >= DEARER * told and cost > told and before.state is not State.SILENCED:
                self.append(incident_id, Change.DEARER, now_ms)

    def _name(self, before: Incident, members: Sequence[Found]) -> tuple[Found, bool]:
        """The finding that says how an incident stands, and whether the name it has is better than the finding's.

        A name is changed for that of a slice, or of a cause that began earlier; never back to all traffic.
        """
        same = next((f for f in members if Stream.of(f) == _stream(before)), None)
        lead = members[0]
        better = (before.slice == ALL and lead.slice != ALL) or lead.since_ms < before.since_ms
        if same is not None and not better:
            return same, False
        return lead, lead.slice == ALL and before.slice != ALL

    def _close_quiet(self, now_ms: int) -> None:
        query = (
            f"SELECT id FROM incidents WHERE state <> 'closed' AND NOT {_OTHERS} AND"
            " (SELECT count(*) FROM hours WHERE turn > seen_turn) >= ? ORDER BY id"
        )
        for (incident_id,) in self._db.execute(query, (self._habits.quiet_hours,)).fetchall():
            self._close(incident_id, now_ms, note=f"quiet for {self._habits.quiet_hours} hours")

    def _close(self, incident_id: str, now_ms: int, by: str = "", note: str = "") -> None:
        query = "UPDATE incidents SET closed_ms = ?, closed_turn = (SELECT coalesce(max(turn), 0) FROM hours) WHERE id = ?"
        self._db.execute(query, (now_ms, incident_id))
        self._set(incident_id, State.CLOSED, Change.CLOSED, now_ms, by, note)

    def _unsilence(self, now_ms: int) -> None:
        query = "SELECT id FROM incidents WHERE state = 'silenced' AND silenced_until_ms <= ? ORDER BY id"
        for (incident_id,) in self._db.execute(query, (now_ms,)).fetchall():
            self._db.execute("UPDATE incidents SET silenced_until_ms = NULL WHERE id = ?", (incident_id,))
            self._set(incident_id, State.OPEN, Change.UNSILENCED, now_ms)

    def _get(self, incident_id: str) -> Incident:
        found = reading.incident(self._db, incident_id)
        if found is None:
            raise NoSuchIncident(incident_id)
        return found

    def _live(self, incident_id: str) -> Incident:
        found = self._get(incident_id)
        if found.state is State.CLOSED:
            raise InvalidRequest("incident", f"{incident_id} is closed")
        return found

    def _set(self, incident_id: str, state: State, change: Change, now_ms: int, by: str = "", note: str = "") -> None:
        self._db.execute("UPDATE incidents SET state = ? WHERE id = ?", (state, incident_id))
        self.append(incident_id, change, now_ms, by, note)

    def append(self, incident_id: str, change: Change, now_ms: int, by: str = "", note: str = "") -> None:
        """Adds to the history within `writing`, with the incident as it stands where somebody has to be told."""
        if len(note) > LONGEST_NOTE:
            raise InvalidRequest("note", f"at most {LONGEST_NOTE} characters", f"{len(note)}")
        now = self._get(incident_id)
        tell = change in TOLD and not (change is Change.REOPENED and now.state is State.SILENCED)
        if tell:
            query = "UPDATE incidents SET told_micros_per_day = cost_micros_per_day WHERE id = ?"
            self._db.execute(query, (incident_id,))
        told = orjson.dumps(now.to_json()).decode() if tell else None
        query = "INSERT INTO history (incident_id, at_ms, change, by, note, told) VALUES (?, ?, ?, ?, ?, ?)"
        self._db.execute(query, (incident_id, now_ms, change, by, note, told))

    @property
    def connection(self) -> sqlite3.Connection:
        """For readings in the same process."""
        return self._db


def _stream(incident: Incident) -> Stream:
    return Stream(incident.kind, incident.series, incident.slice)


def _flat(stream: Stream) -> tuple[str, str, str, str, str]:
    return stream.kind, *stream.series, *stream.slice


def _numbers(found: Found) -> tuple[float, ...]:
    """Size, usual, evidence; SQLite knows no NaN."""
    return tuple(0.0 if isnan(x) else float(x) for x in (found.size, found.usual, found.evidence))


def _json(detail: object) -> str:
    return orjson.dumps(detail, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS).decode()
