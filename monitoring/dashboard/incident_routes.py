"""What the page asks about incidents, and what it does with them."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domain.clock import now_ms
from domain.errors import InvalidRequest
from domain.refusals import first_refusal
from monitoring.dashboard.access import Acting, Looking, Visitor
from monitoring.dashboard.answers import body_of, json_answer
from monitoring.dashboard.course import course_of
from monitoring.dashboard.runbooks import runbook_of
from monitoring.dashboard.statistics import Statistics
from monitoring.detection.weather import EARLIEST_OPINION_HOURS
from monitoring.incidents import INCIDENTS, IncidentStore, NoSuchIncident, Stream, incidents_path, reading
from store.sqlite import FileUnavailable

LARGEST_BODY = 4_096
LATE_HOURS = 3
"""Hours of the market without a look at a new one, after which a quiet page means nothing."""
Json = dict[str, Any]


class Action(BaseModel):
    """What is said with an action."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    note: str = Field(default="", max_length=500)
    until_ms: int | None = None


class IncidentFile:
    """The incidents of an archive, read anew for each request: the watch may write them at any time, or not have begun."""

    def __init__(self, log_dir: Path | None, hour_length_ms: int) -> None:
        self.path = incidents_path(log_dir) if log_dir else None
        self.hour_length_ms = hour_length_ms

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to read by.

        Raises:
          FileUnavailable: there is no such file yet, or it cannot be read.
        """
        if self.path is None:
            raise FileUnavailable("incidents", "OFFERRANK_LOG_DIR names no archive")
        db = INCIDENTS.open_to_read(self.path)
        try:
            with INCIDENTS.named_errors(self.path):
                yield db
        finally:
            db.close()

    def change(self, do: Callable[[IncidentStore], None]) -> None:
        """One change, in a transaction of its own; errors as in `reading`."""
        if self.path is None or not self.path.exists():
            raise FileUnavailable("incidents", "there are none to change")
        store = IncidentStore(self.path)
        try:
            do(store)
        finally:
            store.close_file()

    def listed(self, at_ms: int) -> Json:
        """Everything *Now* says of incidents, or what is in the way."""
        empty: Json = {"now_ms": at_ms, "live": [], "more": 0, "closed": [], "watched": None, "alerts": [], "trouble": None}
        if self.path is not None and not self.path.exists():
            return empty
        try:
            with self.reading() as db:
                watched = reading.watched(db)
                age_ms = at_ms - watched.at_ms if watched else None
                live = reading.live_incidents(db)
                return empty | {
                    "live": [i.to_json() for i in live[: reading.SHOWN]],
                    "more": max(len(live) - reading.SHOWN, 0),
                    "closed": [i.to_json() for i in reading.closed_incidents(db, 20)],
                    "watched": watched
                    and {
                        "hour_ms": watched.hour_ms,
                        "at_ms": watched.at_ms,
                        "streams": watched.streams,
                        "hours": watched.hours,
                        "late": age_ms is not None and age_ms > LATE_HOURS * self.hour_length_ms + 60_000,
                        "hour_length_ms": self.hour_length_ms,
                    },
                    "alerts": [
                        {"receiver": name, "waiting": count, "since_ms": since, "error": error}
                        for name, count, since, error in reading.alerts_waiting(db)
                    ],
                }
        except FileUnavailable as e:
            return empty | {"trouble": str(e)}


def incident_routes(file: IncidentFile, statistics: Statistics) -> APIRouter:
    """The routes below /api/incidents."""
    router = APIRouter(prefix="/api/incidents")

    @router.get("")
    def listed(_: Looking) -> Response:
        return json_answer(file.listed(now_ms()) | {"opinion_from_ms": opinion_from_ms(statistics)})

    @router.get("/{incident_id}")
    def one(incident_id: str, _: Looking) -> Response:
        with file.reading() as db:
            found = reading.incident(db, incident_id)
            if found is None:
                raise NoSuchIncident(incident_id)
            return json_answer(
                {
                    "now_ms": now_ms(),
                    "hour_length_ms": file.hour_length_ms,
                    "incident": found.to_json(),
                    "streams": [_of(stream) for stream in reading.streams(db, incident_id)],
                    "history": [entry._asdict() for entry in reading.history(db, incident_id)],
                    "evidence": [e._asdict() | {"stream": _of(e.stream)} for e in reading.evidence(db, incident_id)[-20_000:]],
                    "course": course_of(found, statistics, db),
                    "runbook": runbook_of(found.kind),
                }
            )

    @router.post("/{incident_id}/acknowledge")
    async def acknowledge(incident_id: str, request: Request, who: Acting) -> Response:
        said = await _said(request)
        return _act(lambda store: store.acknowledge(incident_id, who.name, now_ms(), said.note))

    @router.post("/{incident_id}/silence")
    async def silence(incident_id: str, request: Request, who: Acting) -> Response:
        said = await _said(request)
        if said.until_ms is None:
            raise InvalidRequest("until_ms", "is missing")
        until = said.until_ms
        return _act(lambda store: store.silence(incident_id, until, who.name, now_ms(), said.note))

    @router.post("/{incident_id}/close")
    async def close(incident_id: str, request: Request, who: Acting) -> Response:
        said = await _said(request)
        return _act(lambda store: store.close(incident_id, who.name, now_ms(), said.note))

    def _act(do: Callable[[IncidentStore], None]) -> Response:
        file.change(do)
        return json_answer({"done": True})

    return router


async def _said(request: Request) -> Action:
    body = await body_of(request, LARGEST_BODY)
    try:
        return Action.model_validate_json(body or b"{}")
    except ValidationError as e:
        wrong = first_refusal(e, table="an object")
        raise InvalidRequest(".".join(map(str, wrong.location)) or "body", wrong.sentence) from None


def opinion_from_ms(statistics: Statistics) -> int | None:
    """When the watch will know enough to compare hours with earlier days; None where it does."""
    known = statistics.answer(("opinion",), lambda *_: {})
    if known["last_hour_ms"] is None:
        return None
    from_ms = int(known["first_hour_ms"]) + EARLIEST_OPINION_HOURS * statistics.hour_ms
    return from_ms if known["last_hour_ms"] < from_ms else None


def _of(stream: Stream) -> Json:
    return {"kind": stream.kind, "series": stream.series._asdict(), "slice": stream.slice._asdict()}


__all__ = ["IncidentFile", "Visitor", "incident_routes", "opinion_from_ms"]
