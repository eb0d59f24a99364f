"""`offerrank init`: looks at a log, or asks, and writes a market file."""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import tomli
import typer

from domain.errors import ContractError, InvalidMarket, OfferRankError
from features.market import parse_market
from offerrank.starting.draft import NO_COLUMN, Answers, Draft, draft, market_name
from offerrank.starting.guesses import guess_labels, guess_offer, guess_time
from offerrank.starting.seen import Log, look_at
from offerrank.starting.without_data import starter_text
from offerrank.starting.written import market_text
from offerrank.training import say


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says."""

    data: Path | None
    out: Path
    name: str | None
    currency: str
    answers: Answers
    columns: tuple[str, ...]
    force: bool
    ask: bool
    """Whether questions may be asked: never without a terminal."""


def run(wanted: Wanted) -> None:
    """Writes the file, and says what to do with it.

    Raises:
      OfferRankError: the file exists, the log cannot be read, or a guess could not be made.
    """
    if wanted.out.exists() and not wanted.force:
        raise OfferRankError(f"{wanted.out} exists: choose another --out, or --force to write over it")
    asked = wanted.ask and sys.stdin.isatty() and sys.stdout.isatty()
    if wanted.data is None:
        _save(wanted, starter_text(_asked_name(wanted, asked), wanted.currency, asked))
        typer.echo(f"{wanted.out}: a market without data; it serves at random until it has learned from its own log")
        typer.echo(f"next: change its offers and features, then\n  offerrank serve --market {wanted.out}")
        return
    log = look_at(wanted.data, wanted.columns)
    answers = _asked(log, wanted.answers) if asked else wanted.answers
    made = draft(log, answers)
    _save(wanted, market_text(made, wanted.name or market_name(wanted.data), wanted.currency, _command(wanted, answers)))
    _tell(made, wanted)


def _asked_name(wanted: Wanted, asked: bool) -> str:
    if wanted.name is not None:
        return wanted.name
    return str(_prompt("Name of the market, in lower-case letters", "shop")) if asked else "shop"


def _asked(log: Log, said: Answers) -> Answers:
    """What was not said on the command line; Enter takes the guess."""
    typer.echo(f"{log.data.name}: {log.rows:,} rows, columns {', '.join(log.columns)}")
    if not said.labels:
        label = _prompt(
            "Which column says what came of it, such as a click", next(iter(guess_labels(log.columns.values())), None)
        )
        said = replace(said, labels=(label,))
    rest = [seen for name, seen in log.columns.items() if name not in said.labels]
    if said.time is None:
        said = replace(said, time=_prompt("Which column has the time (none: no such)", guess_time(rest) or NO_COLUMN))
    if said.offer is None:
        said = replace(said, offer=_prompt("Which column tells offers apart (none: one offer)", guess_offer(rest) or NO_COLUMN))
    if not said.leave_out:
        late = _prompt("Columns that are known only afterwards, with commas between them", "")
        said = replace(said, leave_out=tuple(name.strip() for name in late.split(",") if name.strip()))
    return said


def _prompt(question: str, usual: str | None) -> str:
    return str(typer.prompt(question, default=usual, show_default=bool(usual))).strip()


def _command(wanted: Wanted, said: Answers) -> str:
    """The command that writes the same file without a question."""
    parts = ["offerrank init", str(wanted.data)]
    parts += [f"--label {label}" for label in said.labels]
    pairs = (("--positive", said.positive), ("--offer", said.offer), ("--time", said.time))
    parts += [f"{option} {value}" for option, value in pairs if value is not None]
    parts += [f"--leave-out {name}" for name in said.leave_out] + [f"--offer-feature {name}" for name in said.of_offer]
    return " ".join(parts)


def _save(wanted: Wanted, text: str) -> None:
    """The file whole or not at all; one that could not be used is never written."""
    try:
        parse_market(tomli.loads(text))
    except (tomli.TOMLDecodeError, InvalidMarket) as e:
        raise ContractError(f"the market file that was made cannot be used, which is our mistake: {e}") from None
    beside = wanted.out.with_name(f".{wanted.out.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        if wanted.force:
            beside.replace(wanted.out)
        else:
            os.link(beside, wanted.out)  # fails where somebody else has made one meanwhile
    except FileExistsError:
        raise OfferRankError(f"{wanted.out} exists: choose another --out, or --force to write over it") from None
    except OSError as e:
        raise OfferRankError(f"{wanted.out}: cannot be written: {e.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)


def _tell(made: Draft, wanted: Wanted) -> None:
    log = made.log
    typer.echo(f"{wanted.out}: {log.rows:,} rows{'' if log.whole else ', the first of more'}, {len(made.features)} features")
    for why in log.why:
        typer.echo(f"  read: {why}")
    for t in made.tasks:
        typer.echo(f"  {t.keys['name']}: column {t.keys.get('column', t.keys['label'])!r}, {t.rate:.2%} positive")
    typer.echo(f"  split: {made.why_split}")
    several = made.offer and f"column {made.offer.column!r}, {len(made.offers) + made.unlisted:,} of them"
    offers = several or "one; no column tells any apart"
    typer.echo(f"  offers: {offers}")
    for column, why in made.left_out.items():
        typer.echo(f"  left out: {column!r}, {why}")
    if any(t.rate in (0.0, 1.0) for t in made.tasks):
        say("warning: a label has one value only; a training will refuse it")
    elif any(log.columns[t.keys.get("column", t.keys["label"])].lacking for t in made.tasks if "given" not in t.keys):
        say("warning: rows without a label; a training will refuse them")
    if not made.log.whole:
        say(f"warning: only the first {log.rows:,} rows were looked at; `offerrank data check` reads all")
    typer.echo("next: see whether every feature is known before the offer is shown, then")
    typer.echo(f"  offerrank data check --market {wanted.out} --data {wanted.data}")
    typer.echo(f"  offerrank train --market {wanted.out} --data {wanted.data} --out releases")
