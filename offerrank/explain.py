"""`offerrank explain`: every candidate of a logged decision, and which bid would have won."""

from typing import Any

import orjson
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from domain.money import format_micros
from features.market import Market
from serving.replay.explained import explained
from serving.replay.find import find
from serving.replay.world import Sources, World


def explain(decision_id: str, sources: Sources, redis_url: str, as_json: bool) -> None:
    """Prints it.

    Raises:
      OfferRankError: there is no such decision, or it cannot be made once more.
    """
    logged, world = find(decision_id, sources, redis_url), World(sources)
    told = explained(logged, world)
    if as_json:
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        return
    by = "the priors" if told["release"] == "cold-start" else f"release {told['release']}"
    said = [f"ranked by {by}", f"sold from catalogue {told['catalogue']} by policy {told['policy_id']}"]
    said += ["drawn at random"] * told["explored"] + [f"without {', '.join(told['degraded'])}"] * bool(told["degraded"])
    typer.echo(f"{decision_id}: {', '.join(said)}")
    market = world.view(logged).market
    Console(width=None if Console().is_terminal else 200).print(table_of(told["candidates"], market))
    for d in told["differences"]:
        typer.echo(f"not as it was logged: {d['field']}: logged {d['logged']}, recomputed {d['recomputed']}", err=True)


def table_of(candidates: list[dict[str, Any]], market: Market) -> Table:
    """For a person: a row for each."""
    tasks = [t.name for t in market.served_tasks]
    columns = (
        "slot",
        "offer",
        "campaign",
        "from",
        *(f"p({t})" for t in tasks),
        "bid",
        "pacing",
        "eCPM",
        "price",
        "bid to win",
        "why",
    )
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)

    def money(micros: float | None) -> str:
        return "" if micros is None else format_micros(round(micros), "").strip()

    for c in candidates:
        slot = "" if c["position"] is None else str(c["position"] + 1)
        chances = ["" if (p := c["probability"][t]) is None else f"{p:.5f}" for t in tasks]
        pacing = "" if c["pacing_multiplier"] is None else f"{c['pacing_multiplier']:.3g}"
        bid, *worth = (money(c[f"{name}_micros"]) for name in ("bid", "ecpm", "price", "bid_to_win"))
        table.add_row(slot, c["offer_id"], c["campaign_id"], c["source"], *chances, bid, pacing, *worth, c["why"])
    return table
