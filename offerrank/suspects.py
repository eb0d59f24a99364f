"""`offerrank traffic suspects`: what the log says of traffic that no rule marked."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import typer

from domain.clock import now_ms
from features.log_archive import DECISIONS, EVENTS, read_log
from features.log_schema import contiguous
from monitoring.suspects import COLUMNS, Suspect, charges_once, find_suspects

LATE_MS = 3_600_000
"""Events are logged this long after they happened at most, and pages this long before their events."""
_PLACEMENTS = pa.schema([("slots", pa.list_(pa.struct([("impression_id", pa.string()), ("placement", pa.string())])))])


def run(log_dir: Path, since_s: int, least_z: float, least_clicks: int, as_json: bool) -> None:
    """Prints suspects, or with `as_json` every charge of theirs, one JSON object a line.

    Raises:
      InvalidTrainingData: the archive cannot be read.
    """
    since_ms = now_ms() - since_s * 1000
    suspects = find_suspects(logged_events(log_dir, since_ms), least_z, least_clicks)
    if as_json:
        for suspect, row in charges_once(suspects):
            typer.echo(orjson.dumps(_charge(suspect, row)).decode())
    elif not suspects:
        typer.echo("nobody clicks much more often than its peers")
    else:
        typer.echo("z      what       hour (UTC)     clicks  usual  impressions  charged micros  who")
        for s in suspects:
            counts = f"{s.clicks:>6}  {s.usual:>5.1f}  {s.impressions:>11}  {s.charged_micros:>14}"
            typer.echo(f"{s.z:<6.1f} {s.dimension:<10} {_hour(s)}  {counts}  {s.value}")


def logged_events(log_dir: Path, since_ms: int) -> pa.Table:
    """The event log from a time on, with the placement of every impression."""
    events = read_log(log_dir, EVENTS, pa.schema(COLUMNS), since_ms)
    events = events.filter(pc.greater_equal(events["time_ms"], since_ms))
    slots = pc.list_flatten(read_log(log_dir, DECISIONS, _PLACEMENTS, since_ms - LATE_MS)["slots"])
    named = pa.table({"slot": slots}).flatten()
    at = pc.index_in(contiguous(events["impression_id"]), value_set=contiguous(named["slot.impression_id"]))
    return events.append_column("placement", contiguous(named["slot.placement"]).take(at))


def _hour(suspect: Suspect) -> str:
    return datetime.fromtimestamp(suspect.hour_ms / 1000, UTC).strftime("%Y-%m-%dT%H")


def _charge(suspect: Suspect, row: Mapping[str, object]) -> dict[str, object]:
    named = {name: row[name] for name in ("campaign_id", "day", "impression_id", "type", "event_id", "charged_micros")}
    found = {"dimension": suspect.dimension, "value": suspect.value, "hour": _hour(suspect), "z": round(suspect.z, 1)}
    return named | {"reason": f"suspect_{suspect.dimension}"} | found
