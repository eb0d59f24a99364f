"""Which campaigns are meant for a request: all rules at once, by an inverted index of each feature."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from domain.campaign import FeatureValue
from domain.targeting import CONNECTIVES, Rule, conditions, connected
from features.spec import FeatureSpec

Mask = NDArray[np.bool_]
Rows = NDArray[np.int64]

MOST_KEPT = 2**22
"""Bytes of masks of one feature that are kept ready."""


@dataclass(frozen=True, slots=True)
class _Feature:
    """What R rules say of one feature, by its values."""

    name: str
    otherwise: Mask
    """[R] of a value that no rule names."""
    differs: dict[FeatureValue, Rows]
    """Named value -> the rules to which it is other than `otherwise`."""
    bounds: "_Bounds | None"
    """None where no rule has any."""
    _kept: dict[FeatureValue, Mask] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, spec: FeatureSpec, said: Sequence[tuple[int, Mapping[str, Any]]], n_rules: int) -> Self:
        """Of what rules say, by their row."""
        otherwise = np.ones(n_rules, dtype=bool)
        named: dict[FeatureValue, list[int]] = {}
        for row, condition in said:
            without = {spec.coerce_one(v) for v in condition.get("not_in", ())}
            if "in" in condition:
                otherwise[row] = False
                without = {spec.coerce_one(v) for v in condition["in"]} - without
            for value in without:
                named.setdefault(value, []).append(row)
        differs = {value: np.array(rows, dtype=np.int64) for value, rows in named.items()}
        return cls(spec.name, otherwise, differs, _Bounds.of(spec, said, n_rules))

    def mask(self, value: FeatureValue) -> Mask:
        """[R] rules to which the value is as it has to be."""
        found = self._kept.get(value)
        if found is None:
            found = self._by_value(value)
        return found if self.bounds is None else found & self.bounds.mask(value)

    def _by_value(self, value: FeatureValue) -> Mask:
        differing = self.differs.get(value)
        if differing is None:
            return self.otherwise
        found = self.otherwise.copy()
        found[differing] ^= True
        if (len(self._kept) + 1) * len(found) > MOST_KEPT:
            self._kept.clear()
        self._kept[value] = found
        return found


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Within what a feature has to be, [R] int64 or float64, and which of R rules say so."""

    low: NDArray[Any]
    high: NDArray[Any]
    unbounded: Mask

    @classmethod
    def of(cls, spec: FeatureSpec, said: Iterable[tuple[int, Mapping[str, Any]]], n_rules: int) -> Self | None:
        """Of what rules say, by their row; None where they have no bounds."""
        given = [(row, condition) for row, condition in said if "min" in condition or "max" in condition]
        if not given:
            return None
        whole = spec.dtype == "int"
        least, most = (-(2**63), 2**63 - 1) if whole else (-np.inf, np.inf)
        low = np.full(n_rules, least, dtype=np.int64 if whole else np.float64)
        high = np.full(n_rules, most, dtype=low.dtype)
        unbounded = np.ones(n_rules, dtype=bool)
        for row, condition in given:
            low[row] = spec.coerce_one(condition["min"]) if "min" in condition else least
            high[row] = spec.coerce_one(condition["max"]) if "max" in condition else most
            unbounded[row] = False
        return cls(low, high, unbounded)

    def mask(self, value: Any) -> Mask:
        """[R] rules within whose bounds the value is; a missing one is within none."""
        return self.unbounded if value is None else (self.low <= value) & (value <= self.high)


@dataclass(frozen=True, slots=True)
class _Joined:
    """Rules of one depth that a connective of the same kind joins for the rules they are in."""

    connective: str
    inner: slice
    """Rows, those of one connective together."""
    number: Rows
    """[len(inner)] to which of the connectives each belongs."""
    outer: Rows
    """Row of the rule that each connective is in."""

    def apply(self, met: Mask) -> None:
        """Whoever's connective does not hold is not met; those within must be known."""
        inner = met[self.inner]
        # An assignment to those that some of the inner decide is several times as fast as reduceat.
        if self.connective == "or":
            held = np.zeros(len(self.outer), dtype=bool)
            held[self.number[inner]] = True
        else:
            held = np.ones(len(self.outer), dtype=bool)
            held[self.number[~inner if self.connective == "and" else inner]] = False
        met[self.outer] &= held


@dataclass(frozen=True, slots=True)
class Targeting:
    """R rules: those of C campaigns, then all that these contain."""

    n_campaigns: int
    n_rules: int
    features: tuple[_Feature, ...]
    joined: tuple[_Joined, ...]
    """From the innermost outwards; empty where no rule has another within it."""

    @classmethod
    def of(cls, rules: Sequence[Rule], specs: Mapping[str, FeatureSpec]) -> Self:
        """Of one rule a campaign, which must have been checked. specs: by name, of all features they are about."""
        rows: list[Rule] = list(rules)
        joins: list[_Joined] = []
        level: Iterable[int] = range(len(rules))
        while level:
            level, here = _within(rows, level)
            joins = here + joins
        said: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
        for row, rule in enumerate(rows):
            for name, condition in conditions(rule):
                said.setdefault(name, []).append((row, condition))
        features = tuple(_Feature.of(specs[name], of_it, len(rows)) for name, of_it in said.items())
        return cls(len(rules), len(rows), features, tuple(joins))

    @property
    def names(self) -> tuple[str, ...]:
        """Features that some rule is about."""
        return tuple(f.name for f in self.features)

    def met(self, values: Mapping[str, FeatureValue]) -> Mask:
        """[C] campaigns whose rule holds. values: of all features that some rule is about."""
        met = np.ones(self.n_rules, dtype=bool)
        for feature in self.features:
            met &= feature.mask(values[feature.name])
        for join in self.joined:
            join.apply(met)
        return met[: self.n_campaigns] if self.joined else met


def _within(rows: list[Rule], level: Iterable[int]) -> tuple[list[int], list[_Joined]]:
    """Appends the rules directly within those of one depth; says which they are, and how they are joined."""
    below: list[int] = []
    found: list[_Joined] = []
    outer_rules = [(row, rows[row]) for row in level]
    for name in CONNECTIVES:
        first, number, outer = len(rows), list[int](), list[int]()
        for row, rule in outer_rules:
            if joined := connected(rule, name):
                number += [len(outer)] * len(joined)
                outer.append(row)
                rows += joined
        if outer:
            found.append(_Joined(name, slice(first, len(rows)), np.array(number), np.array(outer)))
        below += range(first, len(rows))
    return below, found
