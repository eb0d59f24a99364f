"""An incident: what a person is told, once, for everything that one cause moved."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from monitoring.incidents.kinds import KINDS, amount, kind_of, runbook, title
from monitoring.summaries import Series, Slice


class State(StrEnum):
    """Where an incident stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"  # somebody works on it; told again only if it becomes much dearer
    SILENCED = "silenced"  # told to nobody until a stated time
    CLOSED = "closed"  # quiet for long enough, or closed by hand; what comes back within a week opens it again


class Change(StrEnum):
    """What the history of an incident holds, each with its time."""

    OPENED = "opened"
    REOPENED = "reopened"
    NARROWED = "narrowed"  # another slice or series explains it better than what it was opened for
    DEARER = "dearer"  # costs twice what was told last
    ACKNOWLEDGED = "acknowledged"
    SILENCED = "silenced"
    UNSILENCED = "unsilenced"  # the time was up
    CLOSED = "closed"
    ASKED_RECALIBRATE = "asked to recalibrate"
    ASKED_RETRAIN = "asked to retrain"
    NOT_ASKED = "not asked"  # for what the market lets such an incident ask for; its note says why
    ANSWERED = "answered"  # what came of what was asked for
    TESTED = "tested"  # in no history: somebody wants to know whether alerts arrive


TOLD = frozenset({Change.OPENED, Change.REOPENED, Change.DEARER, Change.UNSILENCED, Change.CLOSED})
"""Changes that are sent to whoever is on call."""


class Found(Protocol):
    """What is needed of a finding."""

    @property
    def kind(self) -> str:
        """One of `KINDS`, or a new one."""

    @property
    def series(self) -> Series:
        """What moved."""

    @property
    def slice(self) -> Slice:
        """Where."""

    @property
    def release(self) -> str:
        """Which release decided."""

    @property
    def since_ms(self) -> int:
        """When it began."""

    @property
    def size(self) -> float:
        """Observed, and `usual` what it normally is."""

    @property
    def usual(self) -> float:
        """In the unit of `size`."""

    @property
    def evidence(self) -> float:
        """E-value, or what stands for it."""

    @property
    def cost_micros_per_day(self) -> int:
        """What it costs; 0 where nobody can say."""

    @property
    def detail(self) -> Mapping[str, float | str]:
        """Numbers for the chart and the text; `rows`, how many it was seen in, tells small slices from large ones."""


class Stream(NamedTuple):
    """What makes two findings the same thing: the release is not in it, or each new one would be told anew."""

    kind: str
    series: Series
    slice: Slice

    @classmethod
    def of(cls, found: Found) -> "Stream":
        """That of a finding."""
        return cls(found.kind, found.series, found.slice)


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident as it stands; times in UTC ms."""

    id: str
    kind: str
    series: Series
    slice: Slice
    release: str
    state: State
    opened_ms: int
    """When it was told first."""
    since_ms: int
    """When what it tells of began."""
    last_seen_ms: int
    """Start of the last hour in which it was found."""
    closed_ms: int | None
    silenced_until_ms: int | None
    size: float
    usual: float
    evidence: float
    cost_micros_per_day: int
    """That of the dearest of its findings of the last hour it was seen in: they are one thing, seen several times."""
    findings: int
    """Streams that it joins."""
    detail: Mapping[str, float | str]

    @property
    def title(self) -> str:
        """What happened and where, in one line."""
        return title(self.kind, self.series, self.slice)

    @property
    def against_usual(self) -> str:
        """How large, against normal."""
        kind = kind_of(self.kind)
        return f"{amount(self.kind, self.size)} {kind.size}, {kind.against} {amount(self.kind, self.usual)}"

    @property
    def runbook(self) -> str:
        """Where the documents say what to do."""
        return runbook(self.kind)

    def to_json(self) -> dict[str, object]:
        """As pages and webhooks get it."""
        return asdict(self) | {
            "series": self.series._asdict(),
            "slice": self.slice._asdict(),
            "state": str(self.state),
            "detail": dict(self.detail),
            "title": self.title,
            "against_usual": self.against_usual,
            "runbook": self.runbook,
            "unit": kind_of(self.kind).unit,
            "size_is": kind_of(self.kind).size,
            "usual_is": kind_of(self.kind).against,
            "known_kind": self.kind in KINDS,
        }


class Entry(NamedTuple):
    """A line of an incident's history."""

    seq: int
    at_ms: int
    change: Change
    by: str
    """Name of the key that did it; "" for the monitor itself."""
    note: str


class Evidence(NamedTuple):
    """What was found of one stream of an incident in one hour."""

    hour_ms: int
    stream: Stream
    release: str
    size: float
    usual: float
    evidence: float
    cost_micros_per_day: int
