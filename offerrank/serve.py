"""`offerrank serve`: one machine's OfferRank, from Redis to the page, until told to stop."""

import shlex
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import typer

from domain.errors import OfferRankError
from domain.signals import TERMINAL, told_to_stop
from models.release import Release
from offerrank.processes import Supervisor
from offerrank.stack import MODEL_SERVER_READY_S, Plan, Stack, releases_of
from serving.gateway.settings import WILDCARDS
from store.key_records import Role

POLL_S = 0.3


def run(
    market: Path,
    release: Path | None,
    run_dir: Path,
    host: str,
    port: int,
    monitor_port: int,
    campaign_port: int,
    public_url: str | None = None,
) -> None:
    """Starts everything, says where it is, and restarts what crashes.

    Raises:
      InvalidMarket, InvalidKeys, ContractError: the market, the keys or the release cannot be used.
      OfferRankError: shoppers could not follow the URLs.
      Unavailable: a process does not start.
    """
    if host in WILDCARDS and public_url is None:
        raise OfferRankError(f"--public-url: expected what impression and click URLs begin with, since nobody can reach {host}")
    releases = releases_of(release, run_dir) if release else None
    plan = Plan.of(market, run_dir, releases, host, port, monitor_port, campaign_port)
    started_s = time.monotonic()
    with told_to_stop(TERMINAL) as stop, Supervisor(plan.run_dir, _say) as supervisor:
        stack = Stack(plan, supervisor, {"OFFERRANK_PUBLIC_URL": public_url} if public_url else None)
        newest = stack.check_releases()
        for error in newest.passed_over:
            _say(f"not served as it is, and looked at again when it changes: {error}")
        stack.start_serving()
        taken = "" if plan.gateway_port == port else f" (port {port} was taken)"
        up = f"up after {time.monotonic() - started_s:.1f} s{taken}"
        _say(f"gateway: {plan.gateway_url}, {up}; its API: {plan.operator_url}/docs")
        stack.start_others()
        _say(f"try: {example_call(stack)}")
        _announce(stack, newest.release, started_s, stop.is_set)
        while not stop.wait(POLL_S):
            supervisor.poll()
        _say("stopping")
    _say(f"stopped; data and logs are in {plan.run_dir}")


def _announce(stack: Stack, newest: Release | None, started_s: float, stopped: Callable[[], bool]) -> None:
    """Says when the page and the release are there, or that they are not."""
    plan, supervisor = stack.plan, stack.supervisor
    waiting = {"monitor": f"page: {plan.monitor_url}", "campaign-api": f"campaigns: {plan.campaign_url}/docs"}
    if newest is not None:
        waiting["release"] = f"ranking by release {newest.version}"
    else:
        _say(
            f"no whole release yet in {plan.releases}: the cold-start policy serves until `offerrank train --out` puts one there"
        )
    while waiting and not stopped():
        supervisor.poll()
        for name in ("monitor", "campaign-api"):
            if name in waiting and supervisor.is_ready(name):
                _say(waiting.pop(name))
        if "release" in waiting and stack.active_release() is not None:
            _say(f"{waiting.pop('release')} after {time.monotonic() - started_s:.1f} s")
        if time.monotonic() - started_s > MODEL_SERVER_READY_S:
            _say(f"still not there: {', '.join(waiting)}; logs are in {plan.run_dir / 'logs'}")
            return
        time.sleep(POLL_S)


def example_call(stack: Stack) -> str:
    """A shell command that asks for a decision, as a shop's server does."""
    placement = stack.market.placements[0]
    body = orjson.dumps({"placements": [{"name": placement.name, "count": placement.count}], "include_pricing": True}).decode()
    headers = f"-H 'content-type: application/json' -H 'authorization: Bearer {stack.keys[Role.SERVER]}'"
    return f"curl -s {stack.plan.gateway_url}/v1/decisions {headers} -d {shlex.quote(body)}"


def _say(line: str) -> None:
    typer.echo(line)
