"""`offerrank replay`: makes decisions once more, and says what is otherwise."""

from dataclasses import asdict
from typing import Any

import orjson
import typer

from domain.errors import OfferRankError
from serving.replay.differences import differences
from serving.replay.find import find
from serving.replay.sweep import Replayed, sweep
from serving.replay.world import Sources, World


def replay_one(decision_id: str, sources: Sources, redis_url: str, as_json: bool) -> int:
    """1 where something is otherwise, else 0.

    Raises:
      OfferRankError: there is no such decision, or it cannot be made once more.
    """
    logged = find(decision_id, sources, redis_url)
    found = differences(logged, World(sources))
    return _tell(Replayed(1, int(bool(found)), found), as_json)


def replay_range(sources: Sources, since_ms: int, until_ms: float, processes: int, sample: int | None, as_json: bool) -> int:
    """The same of all archived ones of a time.

    Raises:
      OfferRankError: none of them could be made once more.
    """
    done = sweep(sources, since_ms, until_ms, processes, sample)
    if not done.decisions:
        why = "; ".join(f"{count} of them: {reason}" for reason, count in done.refused.most_common(3))
        raise OfferRankError(f"{sources.log_dir}: expected decisions to replay, found none{f': {why}' if why else ''}")
    return _tell(done, as_json)


def _tell(done: Replayed, as_json: bool) -> int:
    if as_json:
        typer.echo(orjson.dumps(as_told(done), option=orjson.OPT_INDENT_2).decode())
        return int(done.differing > 0)
    for d in done.differences:
        typer.echo(f"{d.decision_id}  {d.field}: logged {_value(d.logged)}, recomputed {_value(d.recomputed)}")
    for reason, count in done.refused.most_common():
        typer.echo(f"offerrank: {count:,} not replayed: {reason}", err=True)
    differ = f"{done.differing:,} differ" if done.differing else "no difference"
    typer.echo(f"{done.decisions:,} decision{'s' if done.decisions != 1 else ''} replayed: {differ}")
    return int(done.differing > 0)


def as_told(done: Replayed) -> dict[str, Any]:
    """For `--json`."""
    told = [asdict(d) for d in done.differences]
    return {"decisions": done.decisions, "differing": done.differing, "differences": told, "refused": dict(done.refused)}


def _value(value: Any) -> str:
    return "nothing" if value is None else orjson.dumps(value).decode()
