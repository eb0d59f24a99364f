"""A log -> the parts of a market file, each with its reason."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from domain.errors import InvalidTrainingData
from offerrank.starting.guesses import (
    CODE,
    Guess,
    Names,
    guess_feature,
    guess_labels,
    guess_offer,
    guess_source,
    guess_time,
    is_named,
    is_shoppers_key,
    is_steep,
    moments,
    positive_value,
    why_left_out,
)
from offerrank.starting.relations import descriptions, giveaways, implies, new_in_time
from offerrank.starting.seen import Log, Seen, is_flag

NO_COLUMN = "none"
"""Given in place of a column's name."""
MOST_OFFERS = 50
NEW_EVERY_TIME = 0.5
ONLY_OFFER = "the-offer"


@dataclass(frozen=True, slots=True)
class Answers:
    """What the user has said; None where it is to be guessed."""

    labels: tuple[str, ...] = ()
    positive: str | None = None
    offer: str | None = None
    time: str | None = None
    leave_out: tuple[str, ...] = ()
    of_offer: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """One label."""

    keys: dict[str, Any]
    rate: float
    why: str


@dataclass(slots=True)
class Draft:
    """All that a market file of the log says."""

    log: Log
    tasks: list[Task] = field(default_factory=list)
    split: dict[str, Any] = field(default_factory=dict)
    why_split: str = ""
    offer: Guess | None = None
    features: list[Guess] = field(default_factory=list)
    offers: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Id, and what describes it."""
    unlisted: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    """Words that are missing values in all features that have no list of their own."""

    @property
    def positives(self) -> int:
        """Rows with the first label."""
        return round(self.tasks[0].rate * self.log.rows)


def draft(log: Log, said: Answers) -> Draft:
    """Decides about every column.

    Raises:
      InvalidTrainingData: a column that was named is not there, or nothing tells which one is the label.
    """
    for name in (
        *said.labels,
        *said.leave_out,
        *said.of_offer,
        *(n for n in (said.offer, said.time) if n not in (None, NO_COLUMN)),
    ):
        if name not in log.columns:
            raise InvalidTrainingData(str(log.data), f"a column {name!r}", list(log.columns))
    made, names = Draft(log), Names()
    labels = said.labels or tuple(guess_labels(log.columns.values())[:1])
    if not labels:
        two = [seen.name for seen in log.columns.values() if len(seen.values) == 2]
        raise InvalidTrainingData(str(log.data), "a column that is named like an outcome and has two values (or --label)", two)
    made.tasks = _tasks(log, labels, said.positive, names)
    made.left_out = dict.fromkeys(said.leave_out, "as told")
    rest = {name: seen for name, seen in log.columns.items() if name not in labels and name not in made.left_out}
    time = said.time or guess_time(rest.values())
    offer = said.offer or guess_offer(seen for name, seen in rest.items() if name != time)
    _settle_split(made, None if time == NO_COLUMN else time, rest)
    _settle_features(made, None if offer == NO_COLUMN else offer, said, rest, names)
    known = [log.columns[guess.column].silent for guess in (*made.features, *([made.offer] if made.offer else []))]
    made.silent = tuple(dict.fromkeys(word for words in known for word in words))
    return made


def _tasks(log: Log, labels: tuple[str, ...], positive: str | None, names: Names) -> list[Task]:
    tasks: list[Task] = []
    said: list[str | None] = []
    for i, column in enumerate(labels):
        seen = log.columns[column]
        if len(seen.values) < 2:
            raise InvalidTrainingData(f"column {column!r}", "a label of two values", list(seen.values))
        yes = positive if positive in seen.values else positive_value(seen) if len(seen.values) == 2 else None
        if yes is None and not is_flag(seen):
            raise InvalidTrainingData(f"column {column!r}", "a label of two values (or --positive)", list(seen.values)[:5])
        said.append(yes)
        count = sum(n for value, n in seen.values.items() if _means_yes(value, yes))
        rate = count / seen.rows
        why = f"{count:,} of {seen.rows:,} rows, {rate:.2%}"
        if seen.lacking:
            why += f"; {seen.lacking:,} rows have none, and a training refuses them: leave these rows out of the file"
        keys: dict[str, Any]
        if i == 0:
            keys = {"name": "ctr", "label": "click"}
            why += "; called click since the event log calls it so: what pages report trains the same task later"
        elif len(tasks) == 1 and implies(log, column, labels[0], (yes, said[0])):
            keys = {"name": "cvr", "label": "conversion", "given": "click"}
            first = round(tasks[0].rate * log.rows)
            rate = count / first
            why = f"{count:,} of the {first:,} rows with {labels[0]}, {rate:.2%}; no row has it without that"
        else:
            name = names.of(column, 28)
            keys = {"name": name, "label": name}
        names.taken |= set(keys.values())
        if keys["label"] != column:
            keys["column"] = column
        if yes is not None:
            keys["positive"] = yes
            why += f"; {yes!r} is 1, all else 0" + ("" if positive else ", a guess: it is the rarer one")
        tasks.append(Task(keys, rate, why))
    return tasks


def _means_yes(value: str, yes: str | None) -> bool:
    return value.strip() == yes.strip() if yes is not None else value.strip().lower() in ("1", "1.0", "y", "yes", "t", "true")


def _settle_split(made: Draft, time: str | None, rest: dict[str, Seen]) -> None:
    if time is not None:
        made.split = {"kind": "time", "by": time, "valid_fraction": 0.1, "eval_fraction": 0.2}
        made.why_split = f"column {time!r} has times in every row: the newest rows judge, as a model will meet tomorrow's"
        if made.positives < 5000:
            made.split |= {"valid": "random"}
            made.why_split += "; few positives, so the newest of the others train, too"
        made.left_out[time] = "orders the split"
        return
    who = next((name for name, seen in rest.items() if is_shoppers_key(seen)), None)
    if who is not None:
        made.split = {"kind": "hash", "by": who, "valid_fraction": 0.1, "eval_fraction": 0.2}
        made.why_split = f"column {who!r} names who was asked: all rows of one are on the same side"
        return
    made.split = {"kind": "random", "valid_fraction": 0.1, "eval_fraction": 0.2}
    made.why_split = "no column of times, none that names the shopper: rows are drawn at random"


def _settle_features(made: Draft, offer: str | None, said: Answers, rest: dict[str, Seen], names: Names) -> None:
    log, time = made.log, made.split["by"] if made.split["kind"] == "time" else None
    usable = {}
    for name, seen in rest.items():
        if name in made.left_out or name == offer:
            continue
        if (why := why_left_out(seen)) is not None or is_shoppers_key(seen):
            made.left_out[name] = why or "it names a person"
        else:
            usable[name] = seen
    label = made.tasks[0].keys.get("column", made.tasks[0].keys["label"])
    for name, share in giveaways(log, label, usable).items():
        made.left_out[name] = f"it tells the outcome of {share:.1%} of the rows by itself: it is known only afterwards, is it not"
        del usable[name]
    if time is not None:
        coded = [n for n, seen in usable.items() if seen.type == "text" or (seen.type == "number" and is_named(CODE, n))]
        for name, share in new_in_time(log, time, coded).items():
            if share > NEW_EVERY_TIME:
                made.left_out[name] = f"{share:.0%} of the newest rows have a value that no earlier row has"
                del usable[name]
    described = descriptions(log, offer, usable) if offer is not None else {}
    described |= {name: {} for name in said.of_offer if name in usable}
    if offer is None:
        made.offers = [(ONLY_OFFER, {})]
    else:
        seen = log.columns[offer]
        keys: dict[str, Any] = {"name": "offer_id", "source": "offer"} | ({} if offer == "offer_id" else {"column": offer})
        learned = max(min(len(seen.values), 20_000), 10)
        keys |= {"default": "", "vocabulary": learned}
        made.offer = Guess(offer, keys, f"tells {len(seen.values):,}{' or more' if seen.many else ''} offers apart, by its name")
    for name, seen in usable.items():
        source, why = ("offer", "of the offer, each has one value") if name in described else guess_source(name)
        guess = guess_feature(seen, names.of(name), source)
        made.features.append(Guess(guess.column, guess.keys, f"{guess.why}; {why}"))
        if is_steep(seen):
            base = guess.keys["name"]
            made_of = {"name": names.of(f"{base}_log"), "source": source, "derived": f"log({base})", "normalize": True}
            made.features.append(
                Guess(name, made_of, f"a few values of {name!r} are much larger than the others: their logarithm tells more")
            )
    if time is not None:
        made.features += _of_time(log.columns[time], time, names)
    if offer is not None:
        _settle_offers(made, offer, described)


def _of_time(seen: Seen, time: str, names: Names) -> list[Guess]:
    """Hour and weekday, where rows differ in them."""
    found, times = [], moments(seen)
    column = {} if time == "time_ms" else {"column": time}
    for function, of, least in (("hour", {at.hour for at in times}, 6), ("weekday", {at.weekday() for at in times}, 5)):
        if len(of) >= least:
            keys = {"name": names.of(function), "source": "context", "derived": f"{function}(time_ms)"} | column
            found.append(
                Guess(
                    time,
                    keys,
                    f"of {time!r} in files, of the request's moment in service; UTC, or say {function}(time_ms, Europe/Berlin)",
                )
            )
    return found


def _settle_offers(made: Draft, offer: str, described: dict[str, dict[str, str]]) -> None:
    values = made.log.columns[offer].values
    by_column = {
        guess.column: guess.keys for guess in made.features if guess.keys["source"] == "offer" and "derived" not in guess.keys
    }
    for value in list(values)[:MOST_OFFERS]:
        features = {}
        for column, told in described.items():
            text = told.get(value)
            if column in by_column and text not in (None, "", *made.log.columns[column].silent):
                features[by_column[column]["name"]] = _typed(str(text), by_column[column])
        made.offers.append((value, features))
    made.unlisted = len(values) - len(made.offers)


def _typed(text: str, keys: dict[str, Any]) -> str | int | float:
    kind = keys.get("dtype", "string")
    if kind == "string":
        return text
    if text.strip().lower() in ("true", "false"):
        return int(text.strip().lower() == "true")
    return int(float(text)) if kind == "int" else float(text)


def market_name(data: Path) -> str:
    """Of a file, such as `bank-additional` of `Bank Additional.csv.gz`."""
    return Names().of(data.name.split(".")[0], 60).replace("_", "-").strip("-") or "market"
