"""`offerrank lineage`: what a release goes back to, and what a decision goes back to and has taught."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import typer

from domain.errors import OfferRankError, Unavailable
from models.release_folder import newest_usable
from pipelines.examples import matures_s
from pipelines.lineage import Releases
from pipelines.lineage_archive import count_decisions, events_of, find_decision, newest_decision
from pipelines.lineage_decision import shown_slots, taught
from pipelines.metadata_address import MetadataAddress, metadata_address
from store.runs import run_of
from store.sqlite import FileUnavailable

LONGEST_WINDOW_S = 90 * 86_400
UNNAMED = "a release that was not logged"


def lineage(what: str, releases: Path, log_dir: Path, metadata: str | None, as_json: bool) -> None:
    """Prints the lineage of a release, by version or folder, or of a decision, by id.

    Raises:
      OfferRankError: there is no such release and no such decision.
    """
    store = metadata_address(metadata, releases)
    path = Path(what)
    if path.name.isdecimal() and path.is_dir():
        found = of_release(Releases(path.absolute().parent), int(path.name), log_dir, store)
    elif what.isdecimal() and (releases / what).is_dir():
        found = of_release(Releases(releases), int(what), log_dir, store)
    else:
        found = of_decision(what, releases, log_dir)
    if as_json:
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())
    else:
        typer.echo("\n".join(described_decision(found) if "decision" in found else described_release(found)))


def of_release(releases: Releases, version: int, log_dir: Path, metadata: MetadataAddress) -> dict[str, Any]:
    """What made it, what it goes back to, and what serves."""
    line = list(releases.line(version))
    own = line[0]
    trained = next((one for one in line if one.kind != "recalibration"), own)
    span = (
        (min(s.from_ms for s in trained.learned.values()), max(s.through_ms for s in trained.learned.values()))
        if trained.learned
        else None
    )
    return own.as_json() | {
        "path": str(releases.folder / str(version)),
        "market": own.made.market,
        "decisions": count_decisions(log_dir, *span).as_json() if span else None,
        "goes_back_to": [one.as_json() for one in line[1:]],
        "gone": line[-1].parent,
        "gates": releases.gates_of(version),
        "run": _run(releases.folder, version),
        "metadata": _metadata(metadata, trained.version),
        "serving": _serving(releases, log_dir),
        "learned_on_by": releases.successors(version),
        "unreadable": releases.unreadable,
    }


def of_decision(decision_id: str, folder: Path, log_dir: Path) -> dict[str, Any]:
    """Which release made it, on which trainings, and which have learned from it."""
    decision = find_decision(log_dir, decision_id)
    if decision is None:
        raise OfferRankError(f"{decision_id}: neither a release in {folder} nor a decision in {log_dir}")
    releases = Releases(folder)
    market = releases.market_of(max(releases.manifests)) if releases.manifests else None
    reported = market is None or market.policy.impressions == "reported"
    slots = shown_slots(decision, events_of(log_dir, decision, _window_s(releases)), reported=reported)
    made_by, line = decision["release"] or "", []
    if made_by.isdecimal() and int(made_by) in releases.manifests:
        line = [one.as_json() for one in releases.line(int(made_by))]
    shown = ("time_ms", "policy_id", "release", "explored", "degraded", "invalid")
    return {
        "decision": decision_id,
        **{name: decision.get(name) for name in shown},
        "made_by": line,
        "slots": [slot.as_json() for slot in slots],
        "taught": [asdict(one) for one in taught(releases, decision, slots)],
        "unreadable": releases.unreadable,
    }


def _window_s(releases: Releases) -> int:
    """As long as any market of theirs waits for a label."""
    markets = (releases.market_of(version) for version in releases.manifests)
    return max((max(matures_s(market).values(), default=0) for market in markets if market), default=LONGEST_WINDOW_S)


def _run(folder: Path, version: int) -> dict[str, Any] | None:
    try:
        run = run_of(folder, version)
    except FileUnavailable as e:
        return {"missing": str(e)}
    return None if run is None else run.as_json(run.heard_ms)


def _metadata(address: MetadataAddress, version: int) -> dict[str, Any]:
    from pipelines.metadata_store import run_in_metadata

    try:
        return run_in_metadata(address, version)
    except Unavailable as e:
        return {"missing": str(e)}


def _serving(releases: Releases, log_dir: Path) -> dict[str, Any]:
    """The release that gateways which follow the folder take, and that which made the newest archived decision."""
    newest, decided = newest_usable(releases.folder).release, newest_decision(log_dir)
    told: dict[str, Any] = {"newest_whole": newest.version if newest else None}
    return told | {"newest_decision": {"release": decided[0], "time_ms": decided[1]} if decided else None}


def described_release(found: dict[str, Any]) -> list[str]:
    """Lines for a person."""
    lines = [f"release {found['release']} of market {found['market']}, {_kind(found)}, made {_time(found['created_ms'])}"]
    lines += [f"  rows       {_rows(found['rows'])}"]
    if counted := found["decisions"]:
        between = f"{_time(counted['first_ms'])} to {_time(counted['last_ms'])}"
        lines += [f"  taught by  {counted['decisions']:,} decisions in the archive, {between}"]
        lines += [f"  left out   {path}" for path in counted["unreadable"]]
    for label, span in found["learned"].items():
        begin = _time(span["from_ms"]) if span["from_ms"] else "the beginning"
        lines += [f"  {label:<10} of decisions from {begin} through {_time(span['through_ms'])}"]
    for one in found["goes_back_to"]:
        through = f", through {_time(one['trained_through_ms'])}" if one["trained_through_ms"] else ""
        lines += [f"  goes back to release {one['release']}, {_kind(one)}, made {_time(one['created_ms'])}{through}"]
    if found["gone"] is not None:
        lines += [f"  goes back to release {found['gone']}, which is gone; the full training was {_time(found['full_ms'])}"]
    passed = [gate for gate in found["gates"] if gate["verdict"] == "passed"]
    lines += [f"  gates      {len(passed)} passed, {len(found['gates']) - len(passed)} not judged"]
    lines += _described_run(found["run"])
    told = found["metadata"]
    lines += [f"  metadata   {told.get('missing') or 'run ' + told['pipeline_run'] + ' in ' + told['store']}"]
    lines += [f"  learned on by {', '.join(map(str, found['learned_on_by']))}"] if found["learned_on_by"] else []
    serving = found["serving"]
    lines += [f"  serving    the newest whole release is {serving['newest_whole'] or 'none'}"]
    if decided := serving["newest_decision"]:
        lines += [f"             {decided['release'] or UNNAMED} made the newest archived decision, {_time(decided['time_ms'])}"]
    return lines


def described_decision(found: dict[str, Any]) -> list[str]:
    """Lines for a person."""
    lines = [
        f"decision {found['decision']}, {_time(found['time_ms'])}, policy {found['policy_id']}, by {found['release'] or UNNAMED}"
    ]
    if found["invalid"]:
        lines += [f"  invalid    {found['invalid']}"]
    for one in found["made_by"]:
        lines += [f"  made by release {one['release']}, {_kind(one)}, made {_time(one['created_ms'])}, {_rows(one['rows'])}"]
    for slot in found["slots"]:
        what = slot["left_out"] or ", ".join(slot["events"])
        lines += [f"  slot       {slot['offer_id']}, impression {slot['impression_id']}: {what}"]
    for one in found["taught"]:
        labels = f" {', '.join(one['labels'])}" if one["labels"] else ""
        first = f", first by {one['first']}" if one["first"] not in (None, one["release"]) else ""
        lines += [f"  release {one['release']}: {one['verdict']}{labels}{first} ({one['why']})"]
    return lines if found["taught"] else [*lines, "  no release has come since that could have learned from it"]


def _described_run(run: dict[str, Any] | None) -> list[str]:
    if run is None or "missing" in run:
        return [f"  run        {run['missing'] if run else 'was not recorded'}"]
    lines = [f"  run        {run['id']}, {run['kind']} on {run['data']}"]
    for step in run["steps"]:
        rows = [f"{step[key]:,} rows {way}" for key, way in (("rows_in", "in"), ("rows_out", "out")) if step[key] is not None]
        memory = f"{step['peak_bytes'] / 2**20:,.0f} MiB" if step["peak_bytes"] else ""
        lines += [f"    {step['name']:<17} {step['seconds']:7.1f} s  {memory:>10}  {', '.join(rows)}".rstrip()]
    return lines


def _kind(told: dict[str, Any]) -> str:
    on = f" of {told['went_on_from']}" if told["went_on_from"] else ""
    return f"{told['kind']}{on}" if told["kind"] == "recalibration" else f"{told['kind']} training{on.replace(' of', ' from')}"


def _rows(rows: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {split}" for split, n in rows.items()) + " rows"


def _time(ms: int | None) -> str:
    return "-" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
