"""The index of all rules says of each what the rule says by the book."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.refusals import Misfit
from domain.targeting import MOST_DEPTH, MOST_RULES, holds, read_rule
from features.spec import FeatureSpec
from retrieval.targeting import MOST_KEPT, Targeting

SPECS = {
    "country": FeatureSpec(name="country", source="shopper", default=""),
    "age": FeatureSpec(name="age", source="shopper", dtype="int", default=0),
    "amount": FeatureSpec(name="amount", source="context", dtype="float", default=0.0),
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "country": st.sampled_from(["", "DE", "AT", "FR"]),
    "age": st.sampled_from([-(2**63) + 1, 0, 17, 18, 2**53 + 1, 2**63 - 1]),
    "amount": st.sampled_from([-1.5, 0.0, 20, 20.5, 3e38]),
}


@st.composite
def said(draw: st.DrawFn, name: str) -> Any:
    values = st.lists(VALUES[name], min_size=1, max_size=3)
    condition = {"in": draw(values), "not_in": draw(values)}
    if name != "country":
        low, high = sorted([draw(VALUES[name]), draw(VALUES[name])])
        condition |= {"min": low, "max": high}
    keys = draw(st.sets(st.sampled_from(sorted(condition)), min_size=1))
    return draw(values) if keys == {"in"} else {k: condition[k] for k in keys}


def table(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    own = {name: said(name) for name in SPECS}
    rules = st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries({}, optional=own | {"and": rules, "or": rules, "not": inner.filter(bool)})


RULE = st.recursive(st.fixed_dictionaries({}, optional={name: said(name) for name in SPECS}), table, max_leaves=6)


def readable(rule: Any) -> bool:
    try:
        read_rule(rule)
    except Misfit as e:
        assert "within each other" in e.sentence  # noqa: PT017 - the only thing that may be wrong
        return False
    return True


@settings(max_examples=60, deadline=None)
@given(
    rules=st.lists(RULE.filter(readable), max_size=6),
    values=st.fixed_dictionaries({name: st.none() | of for name, of in VALUES.items()}),
)
def test_all_rules_at_once_are_each_by_itself(rules: list[Any], values: dict[str, Any]) -> None:
    read = [read_rule(r) for r in rules]
    index = Targeting.of(read, SPECS)
    for _ in range(2):  # the second time from what was kept
        assert index.met(values).tolist() == [holds(r, values) for r in read]


@pytest.mark.parametrize(
    ("rule", "meant", "not_meant"),
    [
        ({"country": ["DE", "AT"]}, {"country": "AT"}, {"country": "FR"}),
        ({"country": {"in": ["DE", "AT"]}}, {"country": "AT"}, {"country": None}),
        ({"country": {"not_in": ["FR"]}}, {"country": None}, {"country": "FR"}),
        ({"amount": {"min": 20}}, {"amount": 20.0}, {"amount": 19.99}),
        ({"amount": {"max": 20}}, {"amount": 20.0}, {"amount": None}),
        ({"amount": [20, 40.0]}, {"amount": 40}, {"amount": 30.0}),
        ({"or": [{"country": ["DE"]}, {"age": {"min": 18}}]}, {"country": "FR", "age": 18}, {"country": "FR", "age": 17}),
        ({"not": {"country": ["DE"], "age": {"max": 17}}}, {"country": "DE", "age": 18}, {"country": "DE", "age": 17}),
        ({"country": ["DE"], "or": [{"age": [1]}, {"age": [2]}]}, {"country": "DE", "age": 2}, {"country": "FR", "age": 2}),
        ({"and": [{"or": [{"age": [1]}, {"age": [2]}]}, {"or": [{"age": [2]}, {"age": [3]}]}]}, {"age": 2}, {"age": 1}),
    ],
)
def test_what_each_form_means(rule: Any, meant: dict[str, Any], not_meant: dict[str, Any]) -> None:
    index = Targeting.of([read_rule(rule)], SPECS)
    absent = {"country": "", "age": 0, "amount": 0.0}
    assert (index.met(absent | meant).tolist(), index.met(absent | not_meant).tolist()) == ([True], [False])


def test_a_feature_that_is_called_as_a_connective_is_targeted_as_any_other() -> None:
    specs = {name: FeatureSpec(name=name, source="shopper", default="") for name in ("or", "not")}
    index = Targeting.of([read_rule({"or": ["x"], "not": {"in": ["y"]}})], specs)
    assert [index.met({"or": "x", "not": v}).tolist() for v in "yz"] == [[True], [False]]


def test_masks_that_are_kept_stay_within_bounds() -> None:
    n_rules, n_values = 10_000, 500
    index = Targeting.of([read_rule({"age": list(range(n_values))}), *[{}] * (n_rules - 1)], SPECS)
    for age in range(n_values + 10):
        assert bool(index.met({"age": age})[0]) == (age < n_values)
    assert len(index.features[0]._kept) * n_rules <= MOST_KEPT < n_values * n_rules


def nested(depth: int) -> Any:
    return {"not": nested(depth - 1)} if depth > 1 else {"country": ["DE"]}


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ("DE", "expected a table, got 'DE'"),
        ({"country": {}}, "country.in: is missing"),
        ({"country": {"is": "DE"}}, "country.is: there is no such key: expected in, not_in, min, max"),
        ({"country": {"in": "DE"}}, "country.in: expected a list, got 'DE'"),
        ({"country": {"not_in": []}}, "country.not_in: expected at least 1 entry, got []"),
        ({"age": {"min": "18"}}, "age.min: expected a number, got '18'"),
        ({"age": {"min": True}}, "age.min: expected a number, got true"),
        ({"age": {"min": 2, "max": 1}}, "age.max: expected at least `min`, 2, got 1"),
        ({"age": [True]}, "age[0]: expected a string or a whole number or a number, got true"),
        ({"or": [{"age": [1]}, 3]}, "or[1]: expected a table, got 3"),
        ({"or": [{"age": [1]}, {"not": {"age": "x"}}]}, "or[1].not.age: expected a list, got 'x'"),
        (nested(MOST_DEPTH + 1), f"{'.'.join(['not'] * MOST_DEPTH)}: expected at most {MOST_DEPTH} tables within each other"),
        ({"or": [{"age": [1]}] * MOST_RULES}, f"expected at most {MOST_RULES} tables"),
        (nested(900), f"{'.'.join(['not'] * MOST_DEPTH)}: expected at most {MOST_DEPTH} tables within each other"),
    ],
)
def test_what_is_wrong_is_said_with_the_way_to_it(rule: Any, wrong: str) -> None:
    with pytest.raises(Misfit) as caught:
        read_rule(rule)
    assert str(caught.value) == wrong


def test_no_rules_are_met_by_nobody() -> None:
    assert Targeting.of([], SPECS).met({}).tolist() == np.zeros(0, bool).tolist()
