"""The kinds of incident, what each is called, and in what its size is said. docs/runbooks.md has a section for each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from monitoring.summaries import ALL, Series, Slice


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind; `title` has `{name}` for what moved."""

    title: str
    size: str
    """What `size` and `usual` are, in words."""
    unit: str = ""
    """`%` for shares, which are kept in [0, 1]; `µ` for micros; "" for the series' own."""
    against: str = "usually"
    """What `usual` is, in a word."""
    order: int = 5
    """Of kinds that moved in the same hour the least is the likelier cause, and names the incident."""


KINDS: Final[Mapping[str, Kind]] = {
    "skew": Kind("{name} differs between training and serving", "largest difference of one decision", order=0),
    "replay": Kind("decisions are not made again as they were logged", "of decisions that came out otherwise", "%", "allowed", 0),
    "missing": Kind("{name} is missing", "of rows without a value", "%", order=1),
    "unknown": Kind(
        "{name} has values that the model does not know", "of rows with values outside of its vocabulary", "%", order=2
    ),
    "new_value": Kind("{name} has new values", "of rows with values that were not there before", "%", order=2),
    "vanished_value": Kind("{name} has lost values", "of rows that used to have the vanished values", "%", order=2),
    "tail": Kind("{name} leaves its range", "of rows outside of the usual range", "%", order=3),
    "distribution": Kind("{name} has shifted", "distance from its usual distribution", order=4),
    "prediction": Kind("predicted {name} has shifted", "distance from its usual distribution", order=6),
    "calibration": Kind("predicted {name} is not what comes", "outcomes predicted for each that came", order=7),
    "flow": Kind("{name} is not as usual", "of the hour", order=8),
    "availability": Kind("decisions fail", "of decisions that failed", "%", "allowed", 9),
    "latency": Kind("decisions are slow", "of decisions over the limit", "%", "allowed", 9),
    "no_fill": Kind("pages stay empty", "of pages without an offer", "%", "allowed", 9),
    "degraded": Kind("fallbacks answer", "of decisions in which one did", "%", "allowed", 9),
    "ledger": Kind("log and Redis differ", "campaigns and days on which they do", against="allowed"),
    "unreconciled": Kind("books are not held against Redis", "minutes since they last were", against="at most"),
    "budgets_closed": Kind("budgets are closed", "of campaigns that cannot sell", "%", "allowed"),
    "repair": Kind("money in Redis is not known to be right", "minutes so far", against="normally"),
    "overspend": Kind("more is spent than the budget", "of the day's budget spent", "%", "allowed"),
    "pacing": Kind("spend is off its plan", "of the day's budget spent", "%", "planned"),
    "skew_unchecked": Kind("skew is not checked", "hours since it last was", against="at most"),
    "not_learning": Kind("nothing new is learned", "hours since the last release", against="at most"),
}
"""By the name that findings carry. One that is not here is told as `OTHER`."""
OTHER: Final = Kind("{name} is not as usual", "as found", order=10)
SERVICE_LEVELS: Final = ("availability", "latency", "no_fill", "degraded")


def kind_of(name: str) -> Kind:
    """The kind of that name."""
    return KINDS.get(name, OTHER)


def title(kind: str, series: Series, of: Slice) -> str:
    """One line, such as `country is missing in app_version 4.2.0`; a feature is written as it is called."""
    name = series.name or series.kind
    text = kind_of(kind).title.format(name=name.replace("_", " ") if series.kind == "flow" else name)
    text = text if series.kind == "feature" else text[:1].upper() + text[1:]
    return text if of == ALL else f"{text} in {of.by} {of.value or '(none)'}"


def amount(kind: str, value: float) -> str:
    """A size as a person reads it: `12.3 %`, `0.0042`."""
    if kind_of(kind).unit == "%":
        return f"{100 * value:.3g} %"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def runbook(kind: str) -> str:
    """Where docs/runbooks.md says what to do."""
    return f"docs/runbooks.md#{(kind if kind in KINDS else 'other').replace('_', '-')}"
