"""A draft as the text of a market file, each guess explained by a comment."""

import json
import re
from typing import Any
from urllib.parse import quote

from domain.refusals import OFFER_ID
from offerrank.starting.draft import Draft
from offerrank.starting.guesses import Guess

_FEW, _MANY = 20_000, 300_000
"""Rows."""


def market_text(made: Draft, name: str, currency: str, command: str) -> str:
    """The whole file."""
    log = made.log
    rows = f"{log.rows:,} rows" if log.whole else f"the first {log.rows:,} rows"
    parts = [
        comment(
            f"Written by `{command}`, which looked at {rows} of {log.data.name}. Every guess says why: change what is not so."
        ),
        comment("  offerrank data check --market FILE --data DATA    what a training makes of each column"),
        comment("  offerrank train --market FILE --data DATA --out releases"),
        table({"name": name, "currency": currency}),
    ]
    if made.silent:
        parts[-1] += comment("Words that stand for nothing in the file.") + table({"missing_values": list(made.silent)})
    parts.append(
        "[[placements]]\n"
        + comment("A place on the page, and how many offers it shows at most.")
        + table({"name": "main", "count": 1})
    )
    priors = {t.keys["name"]: float(f"{min(max(t.rate, 1e-4), 0.999):.4g}") for t in made.tasks}
    parts.append(
        "[policy]\n"
        + table({"id": f"{name}-1"})
        + comment("Assumed where no model answers: the shares in the file.")
        + table({"priors": priors})
    )
    parts += [comment(t.why) + "[[tasks]]\n" + table(t.keys) for t in made.tasks]
    parts += [_model(made), _training(made), _features(made)]
    parts.append(_campaign())
    if made.unlisted > 0:
        parts.append(
            comment(
                f"The {len(made.offers)} most frequent offers; {made.unlisted:,} others of the file are learned from as well."
            )
        )
    parts += [_offer(value, features) for value, features in made.offers]
    return "".join(parts[:3]) + "\n".join(parts[3:])


def _model(made: Draft) -> str:
    keys: dict[str, Any] = {
        "structure": "stacked",
        "cross_layers": 2,
        "projection_dim": 32,
        "hidden_units": [128, 64],
        "embedding_dim": 8,
    }
    if made.positives < 5000 and made.log.rows > 20 * made.positives:
        few = f"Of {made.log.rows:,} rows only {made.positives:,} are positive"
        why = f"{few}: a small network, and much is left out while it learns."
        keys |= {
            "structure": "parallel",
            "cross_layers": 0,
            "hidden_units": [64],
            "l2": 1e-4,
            "dropout": 0.3,
            "input_dropout": 0.2,
        }
        del keys["projection_dim"]
    elif made.log.rows < _FEW:
        why = f"{made.log.rows:,} rows are few: much is left out while the network learns, and small batches help."
        keys |= {"dropout": 0.5, "input_dropout": 0.2, "l2": 1e-4}
    else:
        why = f"A network of middling size for {made.log.rows:,} rows."
        keys |= {"dropout": 0.3, "input_dropout": 0.1}
    batch = 128 if made.log.rows < _FEW else 512 if made.log.rows < _MANY else 4096
    epochs, patience = (60, 8) if made.log.rows < _FEW else (30, 4) if made.log.rows < _MANY else (15, 3)
    keys |= {"learning_rate": 1e-3, "batch_size": batch, "epochs": epochs, "patience": patience, "members": 3}
    more = "Three networks, whose mean is served: more are better and slower; docs/first-steps.md says what to try."
    return comment(f"{why} {more}") + "[model]\n" + table(keys)


def _training(made: Draft) -> str:
    log, said = made.log, "[training]\n"
    if log.rows < 200:
        said += comment("Fewer rows than a model should learn from.") + table({"min_rows": max(log.rows // 2, 10)})
    said += comment(made.why_split) + table({"split": made.split})
    drifts = made.split["kind"] == "time"
    why = (
        "What a release must reach; wide"
        + (", since shares move in time" if drifts else "")
        + ": tighten it once you know your data."
    )
    said += comment(why)
    for t in made.tasks:
        rows = log.rows * (made.tasks[0].rate if "given" in t.keys else 1.0)
        fewer = made.split["eval_fraction"] * rows * min(t.rate, 1 - t.rate)
        gate: dict[str, Any] = {"min_auc": 0.5} | (
            {"min_pcoc": 0.5, "max_pcoc": 2.0} if drifts else {"min_pcoc": 0.7, "max_pcoc": 1.4}
        )
        if fewer < 130:
            said += comment(
                f"Some {fewer:.0f} of the rarer outcome judge {t.keys['name']}, too few for a verdict: it is released anyway."
            )
            gate |= {"unjudged": "release"}
        said += table({f"gates.{t.keys['name']}": gate})
    csv = {key: value for key, value in log.csv.model_dump(mode="json").items() if value}
    if csv:
        said += "".join(comment(line) for line in log.why) + table({"csv": csv})
    return said


def _features(made: Draft) -> str:
    parts = []
    if made.left_out:
        parts.append("".join(comment(f"left out: {column!r}, {why}") for column, why in made.left_out.items()))
    if made.offer is not None:
        parts.append(_feature(made, made.offer))
    else:
        keys = {"name": "offer_id", "source": "offer", "default": made.offers[0][0], "vocabulary": [made.offers[0][0]]}
        why = "Nothing in the file tells offers apart: there is one, and no column is needed for it."
        parts.append(comment(why) + "[[features]]\n" + table(keys))
    known = comment(
        "Is every feature known before the offer is shown? One that is not cheats in training, and is nothing in service."
    )
    return known + "\n" + "\n".join([*parts, *(_feature(made, guess) for guess in made.features)])


def _feature(made: Draft, guess: Guess) -> str:
    keys, words = dict(guess.keys), made.log.columns[guess.column].silent
    may_be = made.log.columns[guess.column].type == "text" and not words and made.silent
    own = [w for w in made.silent if w in made.log.columns[guess.column].counts] if may_be else []
    if own:
        keys["missing_values"] = []
    return comment(guess.why) + "[[features]]\n" + table(keys)


def _campaign() -> str:
    why = "What is paid: 0.50 a click, at most 50 a day. A page shows one offer of an advertiser: give others their own campaign."
    keys = {"id": "first", "advertiser": "first", "bid_kind": "cpc", "bid_micros": 500_000, "daily_budget_micros": 50_000_000}
    return comment(why) + "[[campaigns]]\n" + table(keys)


def _offer(value: str, features: dict[str, Any]) -> str:
    plain = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", value)[:64].strip()
    fits = re.fullmatch(OFFER_ID, value) is not None
    told = features if fits else {"offer_id": value} | features
    url = f"https://example.com/{quote(value, safe='')[:200]}"
    keys: dict[str, Any] = {
        "id": value if fits else plain or "offer",
        "campaign": "first",
        "title": value[:200].strip() or "Offer",
        "landing_url": url,
    }
    return "[[offers]]\n" + table(keys | ({"features": told} if told else {}))


def comment(text: str) -> str:
    """Lines of at most 130 characters, without what TOML does not allow in comments."""
    words, lines = re.sub(r"[\x00-\x1f\x7f]", " ", text).split(" "), ["#"]
    for word in words:
        if len(lines[-1]) + len(word) > 128:
            lines.append("#")
        lines[-1] += f" {word}"
    return "\n".join(line.rstrip() for line in lines) + "\n"


def table(keys: dict[str, Any]) -> str:
    """Keys of a TOML table."""
    return "".join(f"{key} = {toml(value)}\n" for key, value in keys.items())


def toml(value: Any) -> str:
    """A value as TOML has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + " }"
    return repr(value)
