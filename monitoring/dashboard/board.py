"""What the page remembers of the two streams: counts in buckets of log time, totals, and a little of each release.

Bounded whatever the streams bring: the buckets of one window, `SAMPLES` latencies per bucket, the releases of the last
`MAX_DECISIONS` decisions, the last `SHOWN` decisions themselves.
"""

import random
from array import array
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from domain.events import EventStatus, EventType
from features.log_entry import decision_json
from monitoring.dashboard.entered import Entries

SAMPLES = 2000
MAX_DECISIONS = 200_000
MAX_RELEASES = 12
SHOWN = 20
MOST = 2**53  # us or micros in one entry: beyond it sums leave what JSON can say
PATIENCE_MS = 5_000  # an event this much older than the newest one has lost its decision


@dataclass(slots=True)
class Tally:
    """Counts of decisions and of what came of them."""

    decisions: int = 0
    filled: int = 0
    """Decisions that showed at least one offer."""
    shown: int = 0
    """Offers on the pages of these decisions."""
    degraded: int = 0
    explored: int = 0
    impressions: int = 0
    clicks: int = 0
    conversions: int = 0
    charged_micros: int = 0

    def add_event(self, kind: str, charged_micros: int) -> None:
        """Counts an event by its type."""
        if kind == EventType.IMPRESSION:
            self.impressions += 1
        elif kind == EventType.CLICK:
            self.clicks += 1
        elif kind == EventType.CONVERSION:
            self.conversions += 1
        self.charged_micros += charged_micros

    def add(self, other: "Tally") -> None:
        """Adds another's counts."""
        for name in Tally.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(slots=True)
class Bucket:
    """One stretch of log time."""

    tally: Tally = field(default_factory=Tally)
    total_us: array = field(default_factory=lambda: array("q"))  # type: ignore[type-arg]
    """Latencies, a uniform sample once there are more than SAMPLES."""
    stage_us: Counter[str] = field(default_factory=Counter)
    spent_us: int = 0
    """Sum of all latencies."""


@dataclass(slots=True)
class ReleaseTally:
    """What a release has done, by the decisions it ranked."""

    first_ms: int
    tally: Tally = field(default_factory=Tally)


class Board:
    """Fed with stream entries in order, read by the summary; the caller locks."""

    def __init__(self, bucket_s: int, window_s: int, campaign_of: Mapping[str, str] | None = None) -> None:
        self.bucket_ms, self.kept = bucket_s * 1000, window_s // bucket_s
        self.buckets: OrderedDict[int, Bucket] = OrderedDict()
        self.total = Tally()
        self.entries = Entries(campaign_of or {}, max(window_s * 500, 1))
        self.releases: OrderedDict[str, ReleaseTally] = OrderedDict()
        self.degraded_by: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.invalid: Counter[str] = Counter()
        """Events and decisions that were marked, by reason; they count nowhere else."""
        self.recent: deque[bytes] = deque(maxlen=SHOWN)
        self.since_ms: int | None = None
        self.unreadable = 0
        self.unattributed = 0
        self._release_of: OrderedDict[str, str] = OrderedDict()
        self._early: deque[tuple[int, str, str, int]] = deque()
        self._rng = random.Random(0)

    def add_decision(self, log_ms: int, fields: dict[bytes, bytes]) -> None:
        """Counts one entry of the decision stream."""
        try:
            raw = decision_json(fields)
            made = orjson.loads(raw)
            release, total_us = str(made["release"]), _counted(made["total_us"])
            shown, degraded = len(made["slots"]), [str(name) for name in made["degraded"]]
            stages = {str(stage): _counted(us) for stage, us in made["stage_us"].items()}
            one = Tally(1, int(shown > 0), shown, int(bool(degraded)), int(bool(made["explored"])))
            decision_id, invalid = str(made["decision_id"]), str(made.get("invalid", ""))
            entered = self.entries.read(made)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            self.unreadable += 1
            return
        self.recent.appendleft(raw)
        self._release_of[decision_id] = release
        if len(self._release_of) > MAX_DECISIONS:
            self._release_of.popitem(last=False)
        if invalid:
            self.invalid[invalid] += 1
            return
        self.entries.add(log_ms, entered)
        bucket = self._bucket(log_ms)
        for tally in (bucket.tally, self.total, self._release(release, log_ms).tally):
            tally.add(one)
        bucket.stage_us.update(stages)
        bucket.spent_us += total_us
        self._sample(bucket, total_us)
        self.degraded_by.update(degraded)

    def add_event(self, log_ms: int, fields: dict[bytes, bytes]) -> None:
        """Counts one entry of the event stream."""
        try:
            kind, status = EventType(fields[b"type"].decode()), EventStatus(fields[b"status"].decode())
            charged, decision_id = _counted(fields[b"charged_micros"], least=-MOST), fields[b"decision_id"].decode()
        except (KeyError, ValueError):
            self.unreadable += 1
            return
        self.statuses[status] += 1
        if status is EventStatus.INVALID:
            self.invalid[fields.get(b"reason", b"").decode(errors="replace")] += 1
            return
        for tally in (self._bucket(log_ms).tally, self.total):
            tally.add_event(kind, charged)
        self._early.append((log_ms, decision_id, kind, charged))

    def attribute(self, newest_ms: int) -> None:
        """Credits events to the releases of their decisions. One may overtake its decision, so it is tried for a while."""
        waiting = len(self._early)
        for _ in range(waiting):
            log_ms, decision_id, kind, charged = self._early.popleft()
            release = self._release_of.get(decision_id)
            if release is not None:
                self._release(release, log_ms).tally.add_event(kind, charged)
            elif log_ms < newest_ms - PATIENCE_MS:
                self.unattributed += 1
            else:
                self._early.append((log_ms, decision_id, kind, charged))

    def _bucket(self, log_ms: int) -> Bucket:
        if self.since_ms is None or log_ms < self.since_ms:
            self.since_ms = log_ms
        index = log_ms // self.bucket_ms
        if index not in self.buckets:
            self.buckets[index] = Bucket()
            newest = max(self.buckets)
            for old in [i for i in self.buckets if i <= newest - self.kept]:
                del self.buckets[old]
        return self.buckets.get(index) or Bucket()  # an entry from before the window counts in the totals alone

    def _release(self, release: str, log_ms: int) -> ReleaseTally:
        if release not in self.releases:
            self.releases[release] = ReleaseTally(log_ms)
            if len(self.releases) > MAX_RELEASES:
                self.releases.popitem(last=False)
        return self.releases[release]

    def _sample(self, bucket: Bucket, total_us: int) -> None:
        """Reservoir sampling: Vitter's algorithm R."""
        if len(bucket.total_us) < SAMPLES:
            bucket.total_us.append(total_us)
        else:
            place = self._rng.randrange(bucket.tally.decisions)
            if place < SAMPLES:
                bucket.total_us[place] = total_us


def _counted(value: Any, least: int = 0) -> int:
    """An integer from `least` to `MOST`; raises ValueError for any other."""
    number = int(value)
    if not least <= number <= MOST:
        raise ValueError(f"expected {least} to {MOST}, got {number}")
    return number
