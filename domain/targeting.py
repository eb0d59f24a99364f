"""Whom a campaign is for: a rule over features of the shopper and of the moment.

    { country = ["DE", "AT"] }                                     one of these
    { country = { not_in = ["FR"] }, amount = { min = 20 } }       all that is in a table must hold
    { or = [{ amount = { min = 100 } }, { member = ["yes"] }] }    one of these tables; `and`: all of them; `not`: not this one

A missing value is in no list and within no bounds, so `not_in` holds of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from domain.errors import shown
from domain.refusals import MISSING, UNKNOWN, Misfit

Rule = dict[str, Any]
"""By feature: accepted values, a tuple, or a condition; by connective: rules, for `not` one rule. All in a rule must hold."""
CONDITION = ("in", "not_in", "min", "max")
"""What a feature may have to be; `min` and `max` are within the bounds."""
CONNECTIVES = ("and", "or", "not")
MOST_DEPTH = 5
MOST_RULES = 100
"""Rules within each other, and all rules of one campaign."""

_LIST = {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "number"}]}, "minItems": 1}
_OF_FEATURE = {
    "type": "object",
    "properties": {"in": _LIST, "not_in": _LIST, "min": {"type": "number"}, "max": {"type": "number"}},
    "additionalProperties": False,
    "minProperties": 1,
}
SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "array", "items": {"type": "object"}, "minItems": 1} for name in ("and", "or")}
    | {"not": {"type": "object", "minProperties": 1}},
    "additionalProperties": {"anyOf": [_LIST, _OF_FEATURE]},
}
"""JSON schema of a rule, but for the names of features."""


def read_rule(given: object) -> Rule:
    """A rule as it is kept: lists as tuples.

    Raises:
      Misfit: the first thing wrong, with the way to it.
    """
    return _rule(given, "", MOST_DEPTH, iter(range(MOST_RULES)))


def connected(rule: Rule, name: str) -> tuple[Rule, ...]:
    """The rules that a connective of the rule joins, none where it has none."""
    given: Any = rule.get(name)
    if name == "not":
        return (given,) if _is_rule(given) else ()
    return given if isinstance(given, tuple) and isinstance(given[0], dict) else ()


def conditions(rule: Rule) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What the rule itself says of features, accepted values as `in`; what its connectives join is not among it."""
    for name, said in rule.items():
        if name not in CONNECTIVES or not connected(rule, name):
            yield name, said if isinstance(said, dict) else {"in": said}


def rules_of(rule: Rule, at: str = "") -> Iterator[tuple[str, Rule]]:
    """The rule and all within it, each after the one that it is in, with the way to it, such as `or[1].`."""
    yield at, rule
    for name in CONNECTIVES:
        for i, inner in enumerate(connected(rule, name)):
            yield from rules_of(inner, f"{at}{name}." if name == "not" else f"{at}{name}[{i}].")


def holds(rule: Rule, features: Mapping[str, Any]) -> bool:
    """Whether it holds, by the book; `retrieval.targeting` tells of all campaigns at once."""
    return (
        all(_met(said, features.get(name)) for name, said in conditions(rule))
        and all(holds(r, features) for r in connected(rule, "and"))
        and any([holds(r, features) for r in connected(rule, "or")] or [True])
        and not any(holds(r, features) for r in connected(rule, "not"))
    )


def _met(said: Mapping[str, Any], value: Any) -> bool:
    if "in" in said and value not in said["in"]:
        return False
    if value is None:
        return "min" not in said and "max" not in said
    return value not in said.get("not_in", ()) and said.get("min", value) <= value <= said.get("max", value)


def _rule(given: object, at: str, depth: int, left: Iterator[int]) -> Rule:
    if not isinstance(given, Mapping):
        raise Misfit(f"expected a table, got {shown(given)}", at.rstrip("."))
    if not depth:
        raise Misfit(f"expected at most {MOST_DEPTH} tables within each other", at.rstrip("."))
    if next(left, None) is None:
        raise Misfit(f"expected at most {MOST_RULES} tables")
    rule: Rule = {}
    for name, said in given.items():
        here = f"{at}{name}"
        if name == "not" and _is_rule(said):
            rule[name] = _rule(said, f"{here}.", depth - 1, left)
        elif name in ("and", "or") and isinstance(said, Sequence) and said and isinstance(said[0], Mapping):
            rule[name] = tuple(_rule(r, f"{here}[{i}].", depth - 1, left) for i, r in enumerate(said))
        elif isinstance(said, Mapping):
            rule[name] = _condition(said, here)
        else:
            rule[name] = _values(said, here)
    return rule


def _is_rule(said: object) -> bool:
    """Whether a table that is called `not` is a rule, rather than what a feature of that name has to be."""
    return isinstance(said, Mapping) and any(k not in CONDITION or isinstance(v, Mapping) for k, v in said.items())


def _condition(given: Mapping[str, Any], at: str) -> dict[str, Any]:
    for name, said in given.items():
        if name not in CONDITION:
            raise Misfit(f"{UNKNOWN}: expected {', '.join(CONDITION)}", f"{at}.{name}")
        if name in ("min", "max") and (isinstance(said, bool) or not isinstance(said, int | float)):
            raise Misfit(f"expected a number, got {shown(said)}", f"{at}.{name}")
    if not given:
        raise Misfit(MISSING, f"{at}.in")
    if "min" in given and "max" in given and given["min"] > given["max"]:
        raise Misfit(f"expected at least `min`, {given['min']}, got {given['max']}", f"{at}.max")
    return {k: _values(v, f"{at}.{k}") if k in ("in", "not_in") else v for k, v in given.items()}


def _values(given: object, at: str) -> tuple[str | int | float, ...]:
    if not isinstance(given, list | tuple):
        raise Misfit(f"expected a list, got {shown(given)}", at)
    if not given:
        raise Misfit("expected at least 1 entry, got []", at)
    for i, value in enumerate(given):
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise Misfit(f"expected a string or a whole number or a number, got {shown(value)}", f"{at}[{i}]")
    return tuple(given)
