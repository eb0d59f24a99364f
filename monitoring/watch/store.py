"""Reads and writes what the monitor knows. One process writes; any number read beside it."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from domain.errors import ContractError
from features.log_archive import Part, part_path
from monitoring.summaries import ALL, HourSummary, Series, Slice, Summary, from_bytes, merged
from monitoring.watch.database import MONITOR, MonitorDamaged, monitor_path
from monitoring.watch.slicing import Cell, Tally
from store.sqlite import transaction

HOUR, DAY = 0, 1
_OPEN_CELLS = 12
"""Hours and releases whose summaries are kept in memory, as the next part will change them, too."""
Key = tuple[Slice, Series]


@dataclass(frozen=True, slots=True)
class Hour:
    """What is known of an hour as a whole."""

    hour_ms: int
    pages: int
    rate: float
    """Share of its decisions whose features, probabilities and labels are summarised."""
    stage: int
    """0 going on; 1 over; 2 its clicks are final; 3 its conversions are."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A part that could not be read."""

    log: str
    number: int
    reason: str
    first_ms: int
    last_ms: int


class MonitorStore:
    """The file of one archive. Methods raise `MonitorUnavailable` or `MonitorDamaged`."""

    def __init__(self, db: sqlite3.Connection, log_dir: Path) -> None:
        self._db, self._log_dir, self._path = db, log_dir, monitor_path(log_dir)
        self._ids: dict[tuple[str, tuple[str, ...]], int] = {}
        self._open: dict[Cell, dict[Key, Summary]] = {}

    @classmethod
    def to_write(cls, log_dir: Path) -> Self:
        """For the one process that writes."""
        return cls(MONITOR.open_to_write(monitor_path(log_dir), whole=True), log_dir)

    @classmethod
    def to_read(cls, log_dir: Path) -> Self:
        """Beside it."""
        return cls(MONITOR.open_to_read(monitor_path(log_dir)), log_dir)

    def close(self) -> None:
        """Lets go of the file."""
        self._db.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """All or nothing; what was kept in memory is forgotten with what was not written."""
        try:
            with MONITOR.named_errors(self._path), transaction(self._db):
                yield
        except BaseException:
            self._open.clear()
            self._ids.clear()
            raise

    # How far

    def taken(self, log: str) -> int:
        """Number of the newest part of a log that was read or skipped."""
        found = self._rows("SELECT number FROM progress WHERE log = ?", log)
        return int(found[0][0]) if found else 0

    def complete_ms(self, log: str) -> int:
        """Entries that were logged before are in parts that were read or skipped; 0 where there are none."""
        return next((ms for (ms,) in self._rows("SELECT complete_ms FROM progress WHERE log = ?", log)), 0)

    def take(self, log: str, part: Part, from_ms: int, to_ms: int, complete_ms: int) -> None:
        """Says that a part has been read.

        Args:
          from_ms, to_ms: between which times things happened in it.
          complete_ms: as its metadata say.
        """
        values = (log, part.number, part.first_ms, part.last_ms, from_ms, to_ms)
        self._db.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?)", values)
        self.found(log, part.number)
        self._advance(log, part.number, complete_ms)

    def begin(self, log: str, number: int) -> None:
        """Says that parts up to this one are none of the file's."""
        self._advance(log, number, 0)

    def skip(self, skipped: Skipped) -> None:
        """Says that a part could not be read."""
        values = (skipped.log, skipped.number, skipped.reason, skipped.first_ms, skipped.last_ms)
        self._db.execute("INSERT OR REPLACE INTO skipped VALUES (?, ?, ?, ?, ?)", values)
        self._advance(skipped.log, skipped.number, skipped.last_ms)

    def was_taken(self, log: str, number: int) -> bool:
        """Whether a part has been read, and its rows may still be joined."""
        return bool(self._rows("SELECT 1 FROM parts WHERE log = ? AND number = ?", log, number))

    def found(self, log: str, number: int) -> None:
        """Says that a part that had been read before it was skipped is there again."""
        self._db.execute("DELETE FROM skipped WHERE log = ? AND number = ?", (log, number))

    def skipped(self) -> list[Skipped]:
        """Parts that could not be read, by log and number."""
        return [Skipped(*row) for row in self._rows("SELECT log, number, reason, first_ms, last_ms FROM skipped")]

    def parts_between(self, log: str, from_ms: int, to_ms: int) -> list[Part]:
        """Parts in which something happened between two times, both ends included, in their order."""
        rows = self._rows(
            "SELECT number, first_ms, last_ms FROM parts WHERE log = ? AND to_ms >= ? AND from_ms <= ? ORDER BY number",
            *(log, from_ms, to_ms),
        )
        return [Part(n, first, last, part_path(self._log_dir, log, n, first, last)) for n, first, last in rows]

    def _advance(self, log: str, number: int, complete_ms: int) -> None:
        self._db.execute(
            "INSERT INTO progress VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET number = max(number, excluded.number),"
            " complete_ms = max(complete_ms, excluded.complete_ms)",
            (log, number, complete_ms),
        )

    # Hours

    def hour(self, hour_ms: int) -> Hour | None:
        """One hour, if anything is known of it."""
        return next(iter(self.hours("hour_ms = ?", hour_ms)), None)

    def hours(self, where: str = "TRUE", *values: object) -> list[Hour]:
        """Hours in their order.

        Args:
          where: SQL over hour_ms, pages, rate, stage and judged.
        """
        return [
            Hour(*row) for row in self._rows(f"SELECT hour_ms, pages, rate, stage FROM hours WHERE {where} ORDER BY 1", *values)
        ]

    def add_pages(self, hour_ms: int, pages: int, rate: float) -> None:
        """Counts decisions of an hour; the rate is that of its first ones."""
        self._db.execute(
            "INSERT INTO hours (hour_ms, pages, rate) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET pages = pages + excluded.pages",
            (hour_ms, pages, rate),
        )

    def reach(self, hour_ms: int, stage: int) -> None:
        """Says that an hour has come to a stage."""
        self._db.execute("UPDATE hours SET stage = ? WHERE hour_ms = ?", (stage, hour_ms))

    def judged(self, hour_ms: int) -> None:
        """Says that an hour has been judged."""
        self._db.execute("UPDATE hours SET judged = 1 WHERE hour_ms = ?", (hour_ms,))

    # Summaries

    def merge(self, tally: Tally) -> None:
        """Into what is there of those hours and releases."""
        for cell, of_cell in tally.by.items():
            hour_ms, release = cell[0], self._id("releases", cell[1])
            known = self._open.setdefault(cell, {})
            is_new = self._db.execute("INSERT OR IGNORE INTO cells VALUES (0, ?, ?)", (hour_ms, release)).rowcount == 1
            written = []
            for key, summary in of_cell.items():
                before = known.get(key) or (None if is_new else self._said(hour_ms, release, key))
                known[key] = summary if before is None else _joined(before, summary)
                written.append((HOUR, hour_ms, release, *self._ids_of(key), known[key].to_bytes()))
            self._db.executemany("INSERT OR REPLACE INTO summaries VALUES (?, ?, ?, ?, ?, ?)", written)
        for cell in sorted(self._open)[:-_OPEN_CELLS]:
            del self._open[cell]

    def summaries(self, at_ms: int, span: int = HOUR, kinds: Sequence[str] = ()) -> list[HourSummary]:
        """All that is known of an hour or day, one per release.

        Args:
          kinds: of series; all unless given.
        """
        marks = f" AND series.kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
        rows = self._rows(
            'SELECT releases.name, slices."by", slices.value, series.kind, series.name, said FROM summaries'
            " JOIN releases ON releases.id = release JOIN slices ON slices.id = slice JOIN series ON series.id = series"
            f" WHERE span = ? AND at_ms = ?{marks}",
            *(span, at_ms, *kinds),
        )
        found: dict[str, dict[Key, Summary]] = {}
        for release, by, value, kind, name, said in rows:
            found.setdefault(release, {})[Slice(by, value), Series(kind, name)] = _summary(said)
        return [HourSummary(at_ms, release, of) for release, of in sorted(found.items())]

    def history(
        self, series: Series, where: Slice = ALL, since_ms: int = 0, until_ms: int = 1 << 62, span: int = HOUR
    ) -> list[tuple[int, str, Summary]]:
        """One series over time: hour or day, release, summary.

        Args:
          since_ms, until_ms: of hours or days that begin from the first to before the second.
        """
        rows = self._rows(
            "SELECT cells.at_ms, releases.name, said FROM cells JOIN releases ON releases.id = cells.release"
            " JOIN summaries ON summaries.span = cells.span AND summaries.at_ms = cells.at_ms"
            " AND summaries.release = cells.release AND series = (SELECT id FROM series WHERE kind = ? AND name = ?)"
            ' AND slice = (SELECT id FROM slices WHERE "by" = ? AND value = ?)'
            " WHERE cells.span = ? AND cells.at_ms >= ? AND cells.at_ms < ? ORDER BY 1, 2",
            *(*series, *where, span, since_ms, until_ms),
        )
        return [(at_ms, release, _summary(said)) for at_ms, release, said in rows]

    def names(self) -> tuple[list[Series], list[Slice], list[str]]:
        """Every series, slice and release that was ever summarised."""
        series = [Series(*row) for row in self._rows("SELECT kind, name FROM series ORDER BY 1, 2")]
        slices = [Slice(*row) for row in self._rows('SELECT "by", value FROM slices ORDER BY 1, 2')]
        return series, slices, [name for (name,) in self._rows("SELECT name FROM releases ORDER BY 1")]

    def first_and_last_hour(self) -> tuple[int, int]:
        """Of those that are known; 0 where there are none."""
        ((first, last),) = self._rows("SELECT coalesce(min(hour_ms), 0), coalesce(max(hour_ms), 0) FROM hours WHERE stage > 0")
        return int(first), int(last)

    def days(self, day_length_s: int) -> list[int]:
        """Budget days of which an hour is over, the newest first."""
        rows = self._rows("SELECT DISTINCT hour_ms / ? FROM hours WHERE stage > 0 ORDER BY 1 DESC", day_length_s * 1000)
        return [day for (day,) in rows]

    def join_hours(self, from_ms: int, to_ms: int) -> None:
        """Makes one day of the hours from the first to before the second, slice by slice; hours of all traffic stay."""
        everything = self._id("slices", *ALL)
        days: dict[tuple[int, int, int], Summary] = {}
        rows = self._db.execute(
            "SELECT release, series, slice, said FROM summaries WHERE (span = 0 AND at_ms >= ? AND at_ms < ? AND slice <> ?)"
            " OR (span = 1 AND at_ms = ?)",
            (from_ms, to_ms, everything, from_ms),
        )
        for *key, said in rows:
            place, summary = tuple(key), _summary(said)
            days[place] = _joined(days[place], summary) if place in days else summary
        self._db.execute(
            "DELETE FROM summaries WHERE span = 0 AND at_ms >= ? AND at_ms < ? AND slice <> ?", (from_ms, to_ms, everything)
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO summaries VALUES (1, ?, ?, ?, ?, ?)", [(from_ms, *k, s.to_bytes()) for k, s in days.items()]
        )
        self._db.executemany("INSERT OR IGNORE INTO cells VALUES (1, ?, ?)", {(from_ms, release) for release, _, _ in days})
        self._open.clear()

    def forget_summaries(self, before_ms: int) -> None:
        """Everything of hours and days that began before."""
        for span in (HOUR, DAY):
            for table in ("summaries", "cells"):
                self._db.execute(f"DELETE FROM {table} WHERE span = ? AND at_ms < ?", (span, before_ms))
        self._db.execute("DELETE FROM hours WHERE hour_ms < ?", (before_ms,))

    def _said(self, hour_ms: int, release: int, key: Key) -> Summary | None:
        found = self._rows(
            "SELECT said FROM summaries WHERE span = 0 AND at_ms = ? AND release = ? AND series = ? AND slice = ?",
            *(hour_ms, release, *self._ids_of(key)),
        )
        return _summary(found[0][0]) if found else None

    def _ids_of(self, key: Key) -> tuple[int, int]:
        return self._id("series", *key[1]), self._id("slices", *key[0])

    def _id(self, table: str, *names: str) -> int:
        if (known := self._ids.get((table, names))) is None:
            columns = {"series": ("kind", "name"), "slices": ('"by"', "value"), "releases": ("name",)}[table]
            self._db.execute(
                f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(names))})", names
            )
            where = " AND ".join(f"{column} = ?" for column in columns)
            known = self._ids[table, names] = int(self._rows(f"SELECT id FROM {table} WHERE {where}", *names)[0][0])
        return known

    # Releases

    def without_baseline(self) -> list[str]:
        """Releases that have decided and were not looked at."""
        rows = self._rows("SELECT name FROM releases WHERE name <> '' AND name NOT IN (SELECT release FROM baselines)")
        return [name for (name,) in rows]

    def add_baseline(self, release: str, summaries: Mapping[Series, Summary], trouble: str) -> None:
        """Keeps what the rows of its training were like, or why that is not known."""
        self._db.execute("INSERT OR REPLACE INTO baselines VALUES (?, '', '', NULL, ?)", (release, trouble))
        rows = [(release, *series, summary.to_bytes(), "") for series, summary in summaries.items()]
        self._db.executemany("INSERT OR REPLACE INTO baselines VALUES (?, ?, ?, ?, ?)", rows)

    def baseline(self, release: str) -> tuple[dict[Series, Summary], str]:
        """What the rows of its training were like; and, where nothing is known, why."""
        rows = self._rows("SELECT kind, name, said, trouble FROM baselines WHERE release = ?", release)
        known = {Series(kind, name): _summary(said) for kind, name, said, _ in rows if said is not None}
        return known, next((trouble for *_, said, trouble in rows if said is None), "it was not looked at")

    # What is watched

    def watched(self, day: int, by: str) -> dict[str, tuple[int, bool]]:
        """Value of a slice -> its rows on a day, and whether it is watched."""
        rows = self._rows('SELECT value, rows, is_watched FROM watched WHERE day = ? AND "by" = ?', day, by)
        return {value: (n, bool(is_watched)) for value, n, is_watched in rows}

    def day_before(self, day: int, by: str) -> int | None:
        """The newest day before one on which a slice had traffic."""
        return next((d for (d,) in self._rows('SELECT max(day) FROM watched WHERE day < ? AND "by" = ?', day, by)), None)

    def watch(self, day: int, by: str, values: Mapping[str, tuple[int, bool]]) -> None:
        """The inverse of `watched`, for some of the values."""
        rows = [(day, by, value, n, int(is_watched)) for value, (n, is_watched) in values.items()]
        self._db.executemany("INSERT OR REPLACE INTO watched VALUES (?, ?, ?, ?, ?)", rows)

    def forget_watched(self, before_day: int) -> None:
        """Choices of before that day, but for each slice's last one, from which the day's own may follow."""
        for (by,) in self._rows('SELECT DISTINCT "by" FROM watched WHERE day < ?', before_day):
            self._db.execute('DELETE FROM watched WHERE "by" = ? AND day < ?', (by, self.day_before(before_day, by)))

    # Conversions that wait

    def add_late(self, events: Iterable[tuple[str, str, str, int]]) -> None:
        """Keeps events as (impression_id, type, status, time_ms)."""
        self._db.executemany("INSERT OR IGNORE INTO late_events VALUES (?, ?, ?, ?)", events)

    def late(self, from_ms: int, to_ms: int) -> list[tuple[str, str, str, int]]:
        """Those between two times, both ends included."""
        found = self._rows(
            "SELECT impression_id, type, status, time_ms FROM late_events WHERE time_ms BETWEEN ? AND ?", from_ms, to_ms
        )
        return [(str(i), str(kind), str(status), int(at)) for i, kind, status, at in found]

    def forget_before(self, ms: int) -> None:
        """Parts and events that no label waits for any more."""
        old = "SELECT log, number FROM parts WHERE to_ms < ?"
        self._db.execute(f"DELETE FROM skipped WHERE (log, number) IN ({old})", (ms,))
        self._db.execute("DELETE FROM parts WHERE to_ms < ?", (ms,))
        self._db.execute("DELETE FROM late_events WHERE time_ms < ?", (ms,))

    # Memory

    def remember(self, name: str, said: bytes) -> None:
        """Keeps what `recall` gives."""
        self._db.execute("INSERT OR REPLACE INTO memory VALUES (?, ?)", (name, said))

    def recall(self, name: str) -> bytes | None:
        """What was kept last under a name."""
        return next((said for (said,) in self._rows("SELECT said FROM memory WHERE name = ?", name)), None)

    def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with MONITOR.named_errors(self._path):
            return self._db.execute(sql, values).fetchall()


def _joined(before: Summary, summary: Summary) -> Summary:
    """Both; or the new one, where a feature has become another kind of thing, as by a change of the market file."""
    return merged(before, summary) if type(before) is type(summary) else summary


def _summary(said: bytes) -> Summary:
    try:
        return from_bytes(said)
    except ContractError as e:
        raise MonitorDamaged("monitor", str(e)) from None
