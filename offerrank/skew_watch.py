"""`offerrank skew --every`: recomputes a sample of each hour, and hands what differs to the incidents.

Each turn is two processes of its own, `offerrank skew --json` and `offerrank replay --json`: TensorFlow is in memory for their
seconds only, and whatever happens there ends that turn alone.
"""

import logging
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from domain.clock import hour_begin_ms, hour_of_day, now_ms
from domain.errors import OfferRankError
from domain.signals import TERMINAL, told_to_stop
from features.log_archive import DECISIONS, archived
from features.market import load_market
from monitoring.detection.finding import Finding
from monitoring.incidents import Habits, IncidentStore, incidents_path
from monitoring.incidents.store import REPLAY
from monitoring.skew_beat import TURN_S, SkewBeat
from monitoring.summaries import ALL, Series
from monitoring.watch import MonitorStore
from monitoring.watch.revenue import revenue_micros_per_day
from offerrank.skew import Asked
from store.sqlite import FileUnavailable

log = logging.getLogger("offerrank.skew")
ESTIMATE = "an estimate: the share of the sample that differs, of what the release brings a day"


class Broken(OfferRankError):
    """A turn that was killed, or ended in the middle."""


def watch(asked: Asked, every_s: int) -> None:
    """Until told to stop. A turn that fails is logged, and what it was for is looked at in the next one.

    Raises:
      OfferRankError: there is no market file, at the start: it says how long an hour is.
    """
    if asked.market is None:
        raise OfferRankError("--every: expected --market, by whose hours incidents are kept, got none")
    day_length_s = load_market(asked.market).policy.day_length_s
    store = IncidentStore(incidents_path(asked.log_dir), Habits(day_length_s * 1000 // 24))
    seen_ms, beat = 0, SkewBeat(beat_ms=now_ms(), checked_ms=now_ms(), every_s=every_s)
    with told_to_stop(TERMINAL) as stop:
        while not stop.is_set():
            started_s = time.monotonic()
            _say(asked.log_dir, beat := beat.model_copy(update={"beat_ms": now_ms()}))
            said: dict[str, object] = {"broken": 0, "why": ""}
            try:
                seen_ms = turn(asked, store, day_length_s, seen_ms or asked.since_ms, every_s, stop)
            except OfferRankError as e:
                if not stop.is_set():
                    log.warning("not this time: %s", e)
                    said |= {"broken": beat.broken + 1, "why": str(e)[:200]} if isinstance(e, Broken) else {}
            said |= {"beat_ms": now_ms()} | ({} if said["broken"] else {"checked_ms": now_ms()})
            _say(asked.log_dir, beat := beat.model_copy(update=said))
            stop.wait(max(every_s - (time.monotonic() - started_s), 1.0))
    store.close_file()


def turn(
    asked: Asked, store: IncidentStore, day_length_s: int, seen_ms: int, every_s: int, stop: threading.Event | None = None
) -> int:
    """Looks at what was archived since `seen_ms`, of a longer time at the last `every_s` of it; up to when it has.

    Raises:
      OfferRankError: nothing could be recomputed, or told.
    """
    end_ms = archived(asked.log_dir, DECISIONS).complete_ms
    since_ms = max(seen_ms, end_ms - 1000 * every_s)
    if end_ms <= since_ms:
        return seen_ms
    found = _recomputed(asked, since_ms, end_ms - 1, stop or threading.Event())
    hour_ms = hour_begin_ms(hour_of_day(end_ms - 1, day_length_s), day_length_s)
    findings = list(findings_of(found, hour_ms, _revenue(asked.log_dir, day_length_s)))
    store.observe_skew(hour_ms, findings, now_ms())
    for f in findings:
        log.warning("%s %s differs between training and serving: %s", f.series.kind, f.series.name, dict(f.detail))
    log.info("%d decisions recomputed", sum(release["decisions"] for release in found["releases"]))
    _replay(asked, store, hour_ms, since_ms, end_ms - 1, stop or threading.Event())
    return end_ms


def _replay(asked: Asked, store: IncidentStore, hour_ms: int, since_ms: int, until_ms: int, stop: threading.Event) -> None:
    """The same decisions once more as the gateway makes them; where that cannot be, it is said, and says nothing."""
    command = [sys.executable, "-m", "offerrank", "replay", "--json", "--sample", str(asked.sample)]
    command += ["--log", str(asked.log_dir), "--releases", str(asked.releases), "--market", str(asked.market)]
    try:
        found = _result(command, since_ms, until_ms, stop, ("--from", "--to"), {"OFFERRANK_CATALOGUE": asked.catalogue or ""})
    except OfferRankError as e:
        log.warning("not replayed: %s", e)
        return
    for reason, count in found["refused"].items():
        log.warning("%d not replayed: %s", count, reason)
    findings = list(replay_findings(found, hour_ms))
    store.observe_skew(hour_ms, findings, now_ms(), REPLAY)
    for f in findings:
        log.warning(
            "%s decisions of %s are not made again as they were logged: %s", f.detail["differing"], f.detail["rows"], f.detail
        )


def replay_findings(found: Mapping[str, Any], hour_ms: int) -> Iterator[Finding]:
    """One, with the first difference as its example; none where all came out the same."""
    if not found["differing"]:
        return
    first, share = found["differences"][0], found["differing"] / found["decisions"]
    yield Finding(
        kind=REPLAY,
        series=Series(REPLAY, "decisions"),
        slice=ALL,
        release="",
        since_ms=hour_ms,
        seen_ms=hour_ms,
        size=share,
        usual=0.0,
        evidence=share,
        cost_micros_per_day=0,
        detail={name: str(first[name]) for name in ("decision_id", "field", "logged", "recomputed")}
        | {"rows": found["decisions"], "differing": found["differing"]},
    )


def findings_of(found: Mapping[str, Any], hour_ms: int, revenue: Mapping[str, int] | None = None) -> Iterator[Finding]:
    """One of each feature or task: the largest difference, with its example, of whichever release has it.

    Args:
      revenue: what each release brings a day, in micros. A finding costs the share of it that the differing decisions are of the
        sample, over all releases: an estimate, and none where that is not known.
    """
    largest: dict[Series, tuple[dict[str, Any], dict[str, Any]]] = {}
    cost: Counter[Series] = Counter()
    for release in found["releases"]:
        for group in release["groups"]:
            series = Series(group["kind"], group["name"])
            brings = (revenue or {}).get(str(group["release"]), 0)
            cost[series] += round(brings * group["decisions"] / max(release["decisions"], 1))
            if series not in largest or group["size"] > largest[series][0]["size"]:
                largest[series] = group, release
    for series, (group, release) in largest.items():
        example = {name: group[name] for name in ("decision_id", "offer_id", "served", "recomputed", "why")}
        yield Finding(
            kind="skew",
            series=series,
            slice=ALL,
            release=str(group["release"]),
            since_ms=hour_ms,
            seen_ms=hour_ms,
            size=group["size"],
            usual=0.0,
            evidence=group["decisions"] / release["decisions"],
            cost_micros_per_day=cost[series],
            detail={name: "missing" if value is None else value for name, value in example.items()}
            | {"rows": release["decisions"], "differing": group["decisions"]}
            | ({"cost_is": ESTIMATE} if cost[series] else {}),
        )


def _recomputed(asked: Asked, since_ms: int, until_ms: int, stop: threading.Event) -> dict[str, Any]:
    """What `offerrank skew --json` says."""
    command = [sys.executable, "-m", "offerrank", "skew", "--json", "--sample", str(asked.sample)]
    command += ["--log", str(asked.log_dir), "--releases", str(asked.releases), "--market", str(asked.market)]
    command += ["--release", asked.release] if asked.release else []
    return _result(command, since_ms, until_ms, stop, ("--since", "--until"))


def _result(
    command: list[str],
    since_ms: int,
    until_ms: int,
    stop: threading.Event,
    between: tuple[str, str],
    given: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What a turn prints, as JSON; exit code 1 means that something differs.

    Args:
      given: variables of its environment, for what others must not see in a list of processes.
    """
    output, said, code = _finished([*command, between[0], _iso(since_ms), between[1], _iso(until_ms)], stop, given or {})
    lines = [line.removeprefix("offerrank: ") for line in said.strip().splitlines()]
    if code not in (0, 1) or not output:
        kind = OfferRankError if code == 2 else Broken
        raise kind(lines[-1] if lines else f"recomputing ended with {code}")
    for line in lines:
        log.warning("%s", line)
    result: dict[str, Any] = orjson.loads(output)
    return result


def _revenue(log_dir: Path, day_length_s: int) -> dict[str, int]:
    """By release; nothing where no watch has kept statistics."""
    try:
        with closing(MonitorStore.to_read(log_dir)) as store:
            return revenue_micros_per_day(store, day_length_s * 1000 // 24)
    except FileUnavailable:
        return {}


def _say(log_dir: Path, beat: SkewBeat) -> None:
    """That it is at work; what cannot be said stops nothing."""
    try:
        beat.write(log_dir)
    except OSError as e:
        log.warning("%s: cannot be written to: %s", log_dir, e.strerror)


def _finished(command: list[str], stop: threading.Event, given: Mapping[str, str]) -> tuple[bytes, str, int]:
    """Output, what it says besides, and exit code of a process, which ends early when told to stop, or after too long."""
    until_s = time.monotonic() + TURN_S
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **given}) as child:
        while True:
            try:
                output, said = child.communicate(timeout=0.5)
                return output, said.decode(errors="replace"), child.returncode
            except subprocess.TimeoutExpired:
                if stop.is_set() or time.monotonic() > until_s:
                    child.kill()


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
