"""`offerrank simulate`: shoppers for a gateway that already runs."""

import asyncio
import signal
from pathlib import Path

import orjson
import typer

from domain.clock import day_fraction, now_ms
from domain.errors import Unavailable
from domain.money import format_micros
from features.market import Market, load_market
from offerrank.stack import answers
from simulation.run import Simulation


def run(
    market_path: Path, gateway_url: str, key: str, per_second: float, seconds: float | None, seed: int, as_json: bool
) -> None:
    """Simulates until the time is up or Ctrl-C, then says what came of it.

    Raises:
      InvalidMarket: the market is wrong, or has not the features that simulated shoppers react to.
      Unavailable: no gateway answers there.
    """
    market = load_market(market_path)
    simulation = Simulation(market, gateway_url, key, seed, per_second)
    if not answers(f"{gateway_url.rstrip('/')}/healthz"):
        raise Unavailable("gateway", f"does not answer at {gateway_url}; `offerrank serve` starts one")
    asyncio.run(_simulate(simulation, market, seconds, quiet=as_json))
    if as_json:
        summary = simulation.tally.summary() | {"errors": simulation.errors, "failures": dict(simulation.client.failures)}
        typer.echo(orjson.dumps(summary, option=orjson.OPT_INDENT_2).decode())
    else:
        typer.echo(_line(simulation, market))
        for what, count in simulation.client.failures.most_common():
            typer.echo(f"  failed: {what}, {count} times")


async def _simulate(simulation: Simulation, market: Market, seconds: float | None, quiet: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if seconds:
        loop.call_later(seconds, stop.set)
    day_length_s = market.policy.day_length_s
    offset_ms = round(day_fraction(now_ms(), day_length_s) * day_length_s * 1000)
    running = asyncio.create_task(simulation.run(stop, offset_ms))
    while not running.done():
        await asyncio.wait([running], timeout=5)
        if not quiet and not running.done():
            typer.echo(_line(simulation, market))
    await running


def _line(simulation: Simulation, market: Market) -> str:
    tally = simulation.tally
    latency = tally.latency_percentiles_ms()
    return (
        f"{tally.requests} decisions, fill {tally.fill_rate:.1%}, {tally.clicks} clicks, {tally.conversions} conversions, "
        f"{format_micros(tally.revenue_micros, market.currency)}, p50 {latency['p50']} ms, p99 {latency['p99']} ms, "
        f"{simulation.errors} errors, release {tally.releases[-1] if tally.releases else '-'}"
    )
