"""`offerrank replay`: makes decisions once more, and says what is otherwise."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from domain.errors import OfferRankError
from serving.replay.differences import differences
from serving.replay.find import find
from serving.replay.otherwise import Compared, Otherwise, compare, compare_range, read_policy
from serving.replay.sweep import Replayed, sweep
from serving.replay.world import Sources, World

WORDS = {
    "revenue_micros": "expected revenue, micros",
    "value_micros": "expected value of bids, micros",
    "filled": "slots sold",
    "drawn": "drawn at random",
}


@dataclass(frozen=True, slots=True)
class Range:
    """Which decisions, and by how many processes."""

    since_ms: int
    until_ms: float
    processes: int = 1
    sample: int | None = None
    """So many at most."""


def replay_one(decision_id: str, sources: Sources, redis_url: str, as_json: bool) -> int:
    """1 where something is otherwise, else 0.

    Raises:
      OfferRankError: there is no such decision, or it cannot be made once more.
    """
    logged = find(decision_id, sources, redis_url)
    found = differences(logged, World(sources))
    return _tell(Replayed(1, int(bool(found)), found), as_json)


def replay_range(sources: Sources, of: Range, as_json: bool) -> int:
    """The same of all archived ones of a time.

    Raises:
      OfferRankError: none of them could be made once more.
    """
    done = sweep(sources, of.since_ms, of.until_ms, of.processes, of.sample)
    _expect_some(done, sources)
    return _tell(done, as_json)


def replay_otherwise(decision_id: str | None, policy: Path, sources: Sources, of: Range, redis_url: str, as_json: bool) -> None:
    """Prints what pages would have been under another policy: one, or all of a time.

    Raises:
      OfferRankError: the policy is wrong, or nothing could be made once more.
    """
    changes = read_policy(policy)
    if decision_id is None:
        done = compare_range(sources, changes, of.since_ms, of.until_ms, of.processes, of.sample)
    else:
        done, world = Compared(), World(sources)
        compare(find(decision_id, sources, redis_url).said, world, Otherwise(world, changes), done)
    _expect_some(done, sources)
    told = done.as_json()
    if as_json:
        typer.echo(orjson.dumps({"policy": changes} | told, option=orjson.OPT_INDENT_2).decode())
        return
    typer.echo(f"{done.decisions:,} pages, {done.changed:,} of them with another offer or price")
    table = Table("per page", "then", "otherwise", "difference", "95 % interval", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, of_one in told["per_page"].items():
        low, high = of_one["interval"]
        values = (of_one["then"], of_one["otherwise"], of_one["difference"])
        table.add_row(WORDS[name], *(f"{v:,.4g}" for v in values), f"{low:,.4g} to {high:,.4g}")
    Console(width=None if Console().is_terminal else 200).print(table)
    for page in told["pages"] if decision_id is not None else ():
        for when in ("then", "otherwise"):
            shown = (f"{one['position'] + 1}. {one['offer_id']} at {one['price_micros']:,}" for one in page[when])
            typer.echo(f"{when:>10}: {', '.join(shown) or 'nothing'}")
    for reason, count in done.refused.most_common():
        typer.echo(f"offerrank: {count:,} not replayed: {reason}", err=True)


def _expect_some(done: Replayed | Compared, sources: Sources) -> None:
    if not done.decisions:
        why = "; ".join(f"{count} of them: {reason}" for reason, count in done.refused.most_common(3))
        raise OfferRankError(f"{sources.log_dir}: expected decisions to replay, found none{f': {why}' if why else ''}")


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
