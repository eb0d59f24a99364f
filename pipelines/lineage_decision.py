"""Which releases a logged decision taught: by what each has learned through when, and by the rows that it held out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from domain.events import EventStatus, EventType
from features.market import Market
from pipelines.clusters import PAGE, SAID_BY
from pipelines.lineage import Releases, Training
from pipelines.splits import EVAL, SPLITS, hash_split

Verdict = Literal["learned", "held out", "not learned", "unknown"]


@dataclass(frozen=True, slots=True)
class Shown:
    """One sold slot of a decision, and what came of it."""

    impression_id: str
    offer_id: str
    events: tuple[str, ...]
    """Types of its events that count, once each, in the order of their times."""
    left_out: str
    """Why nothing learns from it; empty of a row like any other."""

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        told = {"impression_id": self.impression_id, "offer_id": self.offer_id, "events": list(self.events)}
        return told | {"left_out": self.left_out}


@dataclass(frozen=True, slots=True)
class Taught:
    """What one release has of a decision."""

    release: int
    verdict: Verdict
    why: str
    labels: tuple[str, ...]
    """Those that it, or the releases that it goes back to, may have learned from."""
    first: int | None
    """The release in its line that learned them first."""


def shown_slots(decision: Mapping[str, Any], events: Sequence[Mapping[str, Any]], *, reported: bool = True) -> list[Shown]:
    """The sold slots, by the rules of the training join.

    Args:
      reported: whether pages report what was seen: `policy.impressions`.
    """
    slots = []
    for slot in decision["slots"] or ():
        own = sorted((e for e in events if e["impression_id"] == slot["impression_id"]), key=lambda e: e["time_ms"])
        counts = [e["type"] for e in own if e["status"] != EventStatus.INVALID]
        clicks_invalid = any(e["type"] == EventType.CLICK and e["status"] == EventStatus.INVALID for e in own)
        left_out = ""
        if decision.get("invalid"):
            left_out = f"asked for by no shopper: {decision['invalid']}"
        elif EventType.ADJUSTMENT in counts:
            left_out = "its charge was taken back"
        elif clicks_invalid and EventType.CLICK not in counts:
            left_out = "all its clicks were invalid traffic"
        elif reported and EventType.IMPRESSION not in counts:
            left_out = "was not seen: no impression was reported"
        slots.append(Shown(slot["impression_id"], slot.get("offer_id") or "", tuple(dict.fromkeys(map(str, counts))), left_out))
    return slots


def taught(releases: Releases, decision: Mapping[str, Any], slots: Sequence[Shown]) -> Iterator[Taught]:
    """Every release of the folder that may have learned from a decision, or says why it has not; oldest first."""
    for version in sorted(releases.manifests):
        if releases.manifests[version].created_ms >= decision["time_ms"]:
            yield _taught(releases, version, decision, slots)


def _taught(releases: Releases, version: int, decision: Mapping[str, Any], slots: Sequence[Shown]) -> Taught:
    if all(slot.left_out for slot in slots):
        return Taught(version, "not learned", slots[0].left_out if slots else "sold nothing", (), None)
    line = list(releases.line(version))
    if line[0].made.trained_through_ms is None:
        return Taught(version, "unknown", "not trained on the log: its rows say nothing of decisions", (), None)
    market = releases.market_of(version)
    if market is None:
        return Taught(version, "unknown", "its market file cannot be read by this version", (), None)
    taking = [(one, label) for one in reversed(line) for label, span in one.learned.items() if span.holds(decision["time_ms"])]
    if not taking:
        complete = line[-1].kind == "full"
        why = "its labels were not final, or it came later than what was learned" if complete else "an older release is gone"
        return Taught(version, "not learned" if complete else "unknown", why, (), None)
    labels = tuple(dict.fromkeys(label for _, label in taking))
    first = min(one.version for one, _ in taking)
    place = _place(market, decision, slots, line[0])
    if place == {SPLITS[EVAL]}:
        return Taught(version, "held out", f"by {line[0].made.held_out}: its rows judge", labels, first)
    why = "" if place else f"unless its rows judged: the split is {market.training.split.kind}"
    return Taught(version, "learned", why or f"split {', '.join(sorted(place))}", labels, first)


def _place(market: Market, decision: Mapping[str, Any], slots: Sequence[Shown], training: Training) -> set[str]:
    """Splits of the decision's rows, where they can be told from a row alone: under a split by hash of what is logged."""
    spec = market.training.split
    if spec.kind != "hash" or training.made.held_out is None:
        return set()
    by, requested, keys = str(spec.by), decision.get("features") or {}, []
    for slot, logged in zip(slots, decision["slots"], strict=True):
        row = {**requested, **(logged.get("features") or {}), "impression_id": slot.impression_id}
        row |= {name: decision.get(name) for name in (*SAID_BY, "time_ms")}
        if not slot.left_out:
            key = row.get(by)
            keys.append(row[PAGE] if by in SAID_BY and not key else key)  # as in training
    if any(key is None or key == "" for key in keys):
        return set()
    codes = hash_split(pa.array([str(key) for key in keys]), spec, market.model.seed)
    return {SPLITS[code] for code in codes}
