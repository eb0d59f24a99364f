"""How good predicted values of conversions are: sums, deviances and intervals by hand."""

import numpy as np
import pytest

from features.model_spec import ValueSpec
from models.gates import check_value
from models.metrics import pcoc_interval
from models.value_metrics import ValueEvaluation, explained_deviance, tweedie_deviance

RNG = np.random.default_rng(4)


def test_the_deviance_is_that_of_a_tweedie_distribution_of_power_three_halves() -> None:
    # 2 (y^(1/2) / ((-1/2)(1/2)) - y v^(-1/2) / (-1/2) + v^(1/2) / (1/2)), for y = 9, v = 4: 2 (-12 + 9 + 4) = 2.
    assert tweedie_deviance(np.array([9.0, 4.0, 0.0]), np.array([4.0, 4.0, 4.0])) == pytest.approx([2.0, 0.0, 8.0])


def test_saying_the_mean_explains_nothing_and_being_right_all() -> None:
    y = np.array([0.0, 10.0, 20.0, 30.0])
    assert explained_deviance(y, np.full(4, 15.0)) == pytest.approx(0)
    assert explained_deviance(y + 1, y + 1) == pytest.approx(1)
    assert explained_deviance(np.full(4, 15.0), np.full(4, 15.0)) is None
    assert explained_deviance(np.zeros(4), np.ones(4)) is None


def test_of_conversions_of_known_value_and_of_all_rows() -> None:
    # Four rows: two conversions of 10 and 30, one of unknown value, one without.
    found = ValueEvaluation.of(
        observed=np.array([10.0, 30.0, np.nan, np.nan]),
        predicted=np.array([20.0, 30.0, 50.0, 40.0]),
        p=np.array([0.5, 0.5, 0.5, 0.5]),
        converted=np.array([True, True, True, False]),
    )
    assert found is not None
    assert (found.rows, found.unknown, found.observed_micros, found.predicted_micros) == (2, 1, 20.0, 25.0)
    assert found.pcoc == pytest.approx(50 / 40)
    # (20 + 30 + 50 + 40) / 2 over 10 + 30, and 50 for the unknown one.
    assert found.entire_pcoc == pytest.approx(70 / 90)


def test_without_a_known_value_there_is_nothing_to_say() -> None:
    nothing = np.full(3, np.nan)
    assert ValueEvaluation.of(nothing, np.ones(3), np.ones(3), np.array([True, False, True])) is None
    assert ValueEvaluation.of(np.ones(3), np.ones(3), np.ones(3), np.zeros(3, bool)) is None
    returned = ValueEvaluation.of(np.zeros(3), np.ones(3), np.ones(3), np.ones(3, bool))
    assert returned is not None
    assert (returned.observed_micros, returned.pcoc, returned.interval, returned.entire_pcoc) == (0, None, None, None)


def test_shoppers_who_buy_twice_make_the_interval_wider() -> None:
    y = np.repeat(RNG.lognormal(0, 1, 200), 2)
    every, ones = np.ones(400, bool), np.ones(400)
    alone = ValueEvaluation.of(y, ones, ones, every)
    by_shopper = ValueEvaluation.of(y, ones, ones, every, np.repeat(np.arange(200) + 7, 2))
    assert alone is not None
    assert by_shopper is not None
    assert alone.interval == pcoc_interval(y, ones)
    assert alone.pcoc == by_shopper.pcoc
    # Twice the same value says half as much: an interval wider by the root of 2.
    (low, high), (lower, higher) = alone.interval or (1, 1), by_shopper.interval or (1, 1)
    assert np.log(higher / lower) == pytest.approx(np.sqrt(2) * np.log(high / low), rel=0.01)


@pytest.mark.parametrize(
    ("times", "verdicts"),
    [(1.0, ["passed", "passed"]), (0.5, ["failed", "passed"]), (2.0, ["passed", "failed"]), (1.21, ["passed", "passed"])],
)
def test_a_gate_fails_where_the_whole_interval_lies_beyond_its_bound(times: float, verdicts: list[str]) -> None:
    y = RNG.lognormal(0, 0.5, 500)
    measured = ValueEvaluation.of(y, np.full(500, times * y.mean()), np.ones(500), np.ones(500, bool))
    assert measured is not None
    results = check_value(ValueSpec(min_pcoc=0.8, max_pcoc=1.2), measured)
    assert [r.verdict for r in results] == verdicts
    assert [r.key for r in results] == ["value.min_pcoc", "value.max_pcoc"]
    for failed in (r for r in results if r.verdict == "failed"):
        assert str(failed).startswith(f"value-PCOC of value is {times:.4f} (95 % interval ")


def test_no_bound_no_gate_and_one_conversion_judges_nothing() -> None:
    one = ValueEvaluation.of(np.ones(1), np.full(1, 9.0), np.ones(1), np.ones(1, bool))
    assert one is not None
    assert check_value(ValueSpec(), one) == ()
    (skipped,) = check_value(ValueSpec(max_pcoc=2), one)
    assert (skipped.verdict, skipped.note) == ("skipped", "1 conversions whose value is known")
