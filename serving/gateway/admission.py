"""What all clients together may take of a gateway, and who is turned away first when they take it.

A gateway is one event loop, so the time a request waits is the work of those admitted before it: with at most N decisions under
way none waits longer than N of them take, however many arrive. What is beyond is answered 503 at once, before any work. Events
are money: they have a bound of their own, far above. Health, metrics and preflights are always answered.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from monitoring import metrics

ANSWER_S = 30.0
"""Longest an answer may be under way, its reading by the client included."""
IDLE_S = 15.0
"""Longest a connection may be between two requests; the server's keep-alive time-out, 5 s, ends those that play fair."""
CROWDED_S = 1.0
"""When there is no room, one that has not sent its request for so long makes way for a new connection."""
LATE_S = 0.25
"""How far behind its clock the event loop may be; beyond, no more decisions are begun than a quarter of what may be under way.
One that is late with few of them is short of CPU, and would be no faster for refusing."""
TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """All of them bounds on what is held at one time."""

    connections: int
    head_bytes: int
    body_bytes: int
    """Bodies in memory, all requests together."""
    request_s: float
    """From the first byte of a request to its last."""
    decisions: int
    events: int


class Kind(Enum):
    """Requests by who is turned away first."""

    DECISION = "decisions"
    EVENT = "events"
    OTHER = "other"

    @classmethod
    def of(cls, method: bytes, url: bytes) -> "Kind":
        """By path; what has no route costs little and counts with the events.

        A preflight costs no more than its refusal, and a page whose preflight is refused learns of no other answer.
        """
        if method == b"OPTIONS":
            return cls.OTHER
        if url.startswith(b"/v1/decisions"):
            return cls.DECISION
        return cls.OTHER if url.startswith((b"/healthz", b"/readyz", b"/metrics")) else cls.EVENT


class Phase(Enum):
    """What a connection waits for."""

    REQUEST = "request"
    ANSWER = "answer"
    IDLE = "idle"


class Connection(Protocol):
    """A client, as the gate sees it."""

    def time_out(self, phase: Phase) -> None:
        """Ends the connection, with an answer if one is due."""
        ...


@dataclass(slots=True)
class Admitted:
    """What one request holds of the limits, from its first byte to the end of the work on it."""

    kind: Kind
    counted: bool = False
    body_bytes: int = 0


class Gate:
    """Counts connections, requests and bytes of one gateway. Not threaded."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._most = {Kind.DECISION: limits.decisions, Kind.EVENT: limits.events}
        self._under_way = dict.fromkeys(Kind, 0)
        self._body_bytes = 0
        # Each in order of arrival, so that whoever is late is at the front.
        self._waiting: dict[Phase, dict[Connection, float]] = {phase: {} for phase in Phase}
        self._longest = {Phase.REQUEST: limits.request_s, Phase.ANSWER: ANSWER_S, Phase.IDLE: IDLE_S}
        self._ticked = self._clock()
        self._late_s = 0.0

    def has_room(self, kind: Kind) -> bool:
        """Whether one more request of this kind would be answered in good time."""
        if kind is Kind.OTHER:
            return True
        under_way, most = self._under_way[kind], self._most[kind]
        if kind is Kind.DECISION and under_way > most // 4 and max(self._late_s, self._clock() - self._ticked - TICK_S) > LATE_S:
            return False
        return under_way < most

    def enter(self, request: Admitted) -> None:
        """A request is complete: its work begins."""
        request.counted = True
        self._under_way[request.kind] += 1

    def take(self, request: Admitted, n_bytes: int) -> bool:
        """Part of a body came; False if there is no room for it."""
        request.body_bytes += n_bytes
        self._body_bytes += n_bytes
        return self._body_bytes <= self.limits.body_bytes

    def leave(self, request: Admitted) -> None:
        """The work on a request has ended, or will never begin. Safe to repeat."""
        self._under_way[request.kind] -= request.counted
        self._body_bytes -= request.body_bytes
        request.counted, request.body_bytes = False, 0

    def wait(self, connection: Connection, phase: Phase) -> None:
        """A connection begins to wait for something else."""
        self.forget(connection)
        self._waiting[phase][connection] = self._clock()

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        for waiting in self._waiting.values():
            waiting.pop(connection, None)

    def make_room(self) -> bool:
        """Ends a connection that nobody would miss; False if there is none."""
        for phase, least_s in ((Phase.IDLE, 0.0), (Phase.REQUEST, CROWDED_S)):
            oldest = next(iter(self._waiting[phase].items()), None)
            if oldest is not None and self._clock() - oldest[1] >= least_s:
                self._end([oldest[0]], phase, "connections")
                return True
        return False

    def held(self) -> dict[str, int]:
        """Requests under way by kind, bytes of bodies, connections by what they wait for: all 0 when nobody is there."""
        requests = {kind.value: n for kind, n in self._under_way.items()}
        return requests | {"body_bytes": self._body_bytes} | {p.value: len(w) for p, w in self._waiting.items()}

    def tick(self) -> None:
        """To be called every TICK_S: ends connections that were given their time, and notes how late it is called."""
        now = self._clock()
        self._late_s, self._ticked = now - self._ticked - TICK_S, now
        for phase, waiting in self._waiting.items():
            late = []
            for connection, since in waiting.items():
                if now - since < self._longest[phase]:
                    break
                late.append(connection)
            self._end(late, phase, "slow")

    def _end(self, connections: Iterable[Connection], phase: Phase, reason: str) -> None:
        for connection in connections:
            self.forget(connection)
            metrics.SHED.labels(reason).inc()
            connection.time_out(phase)
