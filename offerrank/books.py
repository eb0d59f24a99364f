"""`offerrank reconcile` and `offerrank ledger`: the books, as tables and files."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
import redis
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from domain.clock import budget_day
from domain.errors import InvalidRequest, Unavailable
from domain.keys import LIFETIME, Keys
from domain.money import format_micros
from features.market import Market, load_market
from ledger import Account, Balance, Kind
from offerrank.options import By
from serving.ledger.books import LedgerBooks
from serving.ledger.clawback import Charge, charges, take_back
from serving.ledger.export import export_postings
from serving.ledger.reconcile import Reconciliation, reconcile_now, time_ms
from serving.repair.opening import describe
from serving.repair.repair import Repair, Repaired
from store import connect

PATIENCE_S = 20.0
LISTED = ("campaign_id", "day", "impression_id", "type", "event_id", "charged_micros")
FIGURES = ("charged", "given_back", "net", "pending", "held", "invalid")


def reconcile(market_file: Path, redis_url: str, log_dir: Path, repair: bool, as_json: bool) -> int:
    """Prints what differs, once it was repaired if asked to; 1 if anything does, else 0.

    Raises:
      InvalidAddress: the URL of Redis is none.
      Unavailable: Redis or the books cannot be read, or Redis not be repaired now.
      ContractError: the archive is not that of this Redis.
    """
    market = load_market(market_file)
    try:
        # What somebody else may have written is not necessarily text.
        with connect(redis_url, 10, decode_responses=True, encoding_errors="replace") as client:
            if repair:
                typer.echo(describe(_repaired(Repair(client, market, log_dir)), market), err=as_json)
            found = reconcile_now(client, market, log_dir)
    except redis.RedisError as e:
        raise Unavailable("redis", str(e)) from None
    if as_json:
        typer.echo(orjson.dumps(_as_json(found, market), option=orjson.OPT_INDENT_2).decode())
    else:
        _print(found, market)
    return 1 if found.differences else 0


def _repaired(repair: Repair) -> Repaired:
    """Waits for an archiver that still has to write, or for another repair."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return repair.run()
        except Unavailable as e:
            if time.monotonic() > until:
                raise
            typer.echo(f"waiting: {e}", err=True)
            time.sleep(1)


def balance(market_file: Path, log_dir: Path, by: By, since: int | None, until: int | None, as_json: bool) -> None:
    """Prints the balances of the budget days that hold these times in ms. Errors as of `LedgerBooks`."""
    market = load_market(market_file)
    with LedgerBooks(log_dir) as books:
        sums = balances_by(by, books.balances(*_days(market, since, until)), lambda day: _name(day, market))
    if as_json:
        typer.echo(orjson.dumps(sums, option=orjson.OPT_INDENT_2).decode())
        return
    table = _table(f"The books, in {market.currency}", by.value, *(name.replace("_", " ") for name in FIGURES))
    for name, figures in [*sums.items(), ("all", dict(sum((Counter(f) for f in sums.values()), Counter())))]:
        table.add_row(name, *(_amount(figures.get(f, 0)) for f in FIGURES))
    _show(table)


def export(market_file: Path, log_dir: Path, out: Path, since: int | None, until: int | None) -> None:
    """Writes postings as Parquet. Errors as of `export_postings`."""
    market = load_market(market_file)
    with LedgerBooks(log_dir) as books:
        typer.echo(f"{out}: {export_postings(books, out, *_days(market, since, until)):,} postings")


@dataclass(frozen=True, slots=True)
class Suspects:
    """Which charges to take back: those that match everything that is given here."""

    reason: str | None
    events: frozenset[str]
    shoppers: frozenset[str]
    keys: frozenset[str]
    since_ms: int | None
    until_ms: int | None
    listed: Path | None
    """Lines of JSON, as `offerrank traffic suspects --json` writes them."""


def clawback(market_file: Path, redis_url: str, log_dir: Path, suspects: Suspects, dry_run: bool, as_json: bool) -> None:
    """Takes charges back, or with `dry_run` says which would be.

    Raises:
      InvalidRequest: a line of the list is none.
      Unavailable: Redis cannot be reached, or has to be repaired first.
    """
    market = load_market(market_file)
    reasons = _listed(suspects.listed) if suspects.listed else None

    def matches(charge: Charge) -> bool:
        return (
            (not suspects.events or charge["event_id"] in suspects.events)
            and (not suspects.shoppers or charge["shopper_key"] in suspects.shoppers)
            and (not suspects.keys or charge["asked_by"] in suspects.keys)
            and (suspects.until_ms is None or charge["time_ms"] <= suspects.until_ms)
            and (reasons is None or (charge["impression_id"], charge["event_id"]) in reasons)
        )

    found = [
        (charge, suspects.reason or (reasons or {})[charge["impression_id"], charge["event_id"]])
        for charge in charges(log_dir, suspects.since_ms or 0, matches)
    ]
    if not dry_run:
        try:
            with connect(redis_url, 10, decode_responses=True, encoding_errors="replace") as client:
                found = take_back(client, market, found, time_ms(client, Keys(market.name)))
        except redis.RedisError as e:
            raise Unavailable("redis", str(e)) from None
    if as_json:
        for charge, reason in found:
            typer.echo(orjson.dumps({name: charge[name] for name in LISTED} | {"reason": reason}).decode())
        return
    sums = Counter[tuple[str, str]]()
    for charge, reason in found:
        sums[charge["campaign_id"], reason] += charge["charged_micros"]
    for (campaign, reason), micros in sorted(sums.items()):
        typer.echo(f"{campaign}: {format_micros(micros, market.currency)} for {reason}")
    total = format_micros(sum(sums.values()), market.currency)
    typer.echo(f"{len(found)} charges, {total} {'would be' if dry_run else 'were'} taken back")


def _listed(path: Path) -> dict[tuple[str, str], str]:
    """Impression and event -> reason."""
    text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    reasons = {}
    for line in filter(None, text.splitlines()):
        try:
            row = orjson.loads(line)
            reasons[str(row["impression_id"]), str(row["event_id"])] = str(row.get("reason") or "suspect")
        except (ValueError, KeyError, TypeError):
            raise InvalidRequest("--from", "lines of JSON with impression_id, event_id and reason", line) from None
    return reasons


def balances_by(by: By, balances: Iterable[tuple[Account, Balance]], day_name: Callable[[int], str]) -> dict[str, dict[str, int]]:
    """Group -> figure -> micros, without figures that are 0."""
    sums: dict[str, Counter[str]] = {}
    for account, b in balances:
        group = day_name(account.day) if by is By.DAY else account.advertiser if by is By.ADVERTISER else account.campaign
        figures = sums.setdefault(group, Counter())
        if account.kind is Kind.ADVERTISER:
            figures["net"] -= b.posted_micros
        elif account.kind is Kind.MARKET:
            figures["charged"] += b.posted_micros
            figures["pending"] += b.pending_micros
        elif account.kind is Kind.ADJUSTMENTS:
            figures["given_back"] -= b.posted_micros
        elif account.kind is Kind.HOLDS:
            figures["held"] += b.pending_micros
        elif account.reason:
            figures["invalid"] += b.posted_micros
            figures[f"invalid.{account.reason}"] += b.posted_micros
    return {group: {name: micros for name, micros in figures.items() if micros} for group, figures in sums.items()}


def _print(found: Reconciliation, market: Market) -> None:
    closed = len(found.closed(c.id for c in market.campaigns))
    said = f"{len(found.accounts)} campaigns and budget days, {format_micros(found.charged_micros, market.currency)} charged"
    if closed:
        typer.echo(f"{closed} of {len(market.campaigns)} budgets of today are not open: nothing of these campaigns is sold")
    if not found.differences:
        typer.echo(f"{said}: log and Redis agree to the micro")
        return
    table = _table(
        f"Where log and Redis differ, in {market.currency}", "campaign", "day", "by the log", "in Redis", "too much in Redis"
    )
    for a in found.differences:
        amounts = (a.charged_micros, a.spent_micros, a.spent_micros - a.charged_micros)
        table.add_row(a.campaign, _name(a.day, market), *map(_amount, amounts))
    _show(table)
    typer.echo(f"{said}: {len(found.differences)} differ")


def _as_json(found: Reconciliation, market: Market) -> dict[str, object]:
    return {
        "accounts": len(found.accounts),
        "charged_micros": found.charged_micros,
        "closed": found.closed(c.id for c in market.campaigns),
        "differences": [
            {"campaign": a.campaign, "day": a.day, "charged_micros": a.charged_micros, "spent_micros": a.spent_micros}
            for a in found.differences
        ],
    }


def _days(market: Market, since: int | None, until: int | None) -> tuple[int, int]:
    length_s = market.policy.day_length_s
    return 0 if since is None else budget_day(since, length_s), 2**62 if until is None else budget_day(until, length_s)


def _name(day: int, market: Market) -> str:
    """The date, or in a market of short days when one begins."""
    if day == LIFETIME:
        return "all"
    begins = datetime.fromtimestamp(day * market.policy.day_length_s, UTC)
    return begins.strftime("%Y-%m-%d" if market.policy.day_length_s == 86_400 else "%Y-%m-%dT%H:%M:%SZ")


def _amount(micros: int) -> str:
    return format_micros(micros, "").strip()


def _show(table: Table) -> None:
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    return table
