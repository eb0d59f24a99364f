from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from models.calibration import Beta, Isotonic, Platt, Spline, logit, sigmoid
from models.calibration.curves import MIN_SLOPE, Curve
from models.calibration.logistic import fit_logistic
from models.calibration.selection import CANDIDATES, choose_curve, clearly_worse

Array = Any


def drawn(truth: Array, seed: int = 7) -> Array:
    """Labels that are 1 with probability sigmoid(truth)."""
    return (np.random.default_rng(seed).random(len(truth)) < sigmoid(truth)).astype(int)


def raw_logits(n: int, seed: int = 3) -> Array:
    return np.random.default_rng(seed).normal(-1, 2, n)


DISTORTIONS = {
    # Calibrated logit by the model's.
    Platt: lambda z: 0.6 * z - 0.4,
    # 0.4 ln p - 1.8 ln(1 - p) - 0.3
    Beta: lambda z: 0.4 * np.log(sigmoid(z)) - 1.8 * np.log(sigmoid(-z)) - 0.3,
    # Flat below, steep in the middle, flat above, with the corners on quantiles of N(-1, 2).
    Spline: lambda z: np.interp(z, [-20, -1 - 2 * 0.598, -1 + 2 * 0.598, 20], [-6, -2.5, 0.5, 3]),
    Isotonic: lambda z: np.interp(z, [-20, -2, -1.9, 0, 0.1, 20], [-3, -2.8, -1.5, -1.3, 0.5, 0.8]),
}


@pytest.mark.parametrize("kind", CANDIDATES)
def test_finds_back_its_own_distortion(kind: type[Platt]) -> None:
    z = raw_logits(100_000)
    truth = DISTORTIONS[kind](z)
    curve = kind.fit(drawn(truth), sigmoid(z))
    gap = np.abs(curve.apply(sigmoid(z)) - sigmoid(truth))
    assert gap.mean() < 0.01
    assert np.abs(sigmoid(z) - sigmoid(truth)).mean() > 0.05


@pytest.mark.parametrize("kind", [Platt, Beta, Spline])
def test_each_kind_wins_where_the_distortion_is_its_own(kind: type[Platt]) -> None:
    z = raw_logits(30_000)
    curve, losses = choose_curve(drawn(DISTORTIONS[kind](z)), sigmoid(z))
    assert type(curve) is kind
    assert list(losses) == ["platt", "beta", "spline", "isotonic"]
    assert losses[curve.kind] <= min(losses.values()) + 1e-3


def test_a_model_that_is_right_is_left_to_platt_and_hardly_changed() -> None:
    z = raw_logits(30_000)
    curve, losses = choose_curve(drawn(z), sigmoid(z))
    assert isinstance(curve, Platt)
    assert (curve.slope, curve.intercept) == (pytest.approx(1, abs=0.05), pytest.approx(0, abs=0.05))
    assert len(losses) == 4


def test_nothing_is_chosen_where_there_is_little_to_choose_by() -> None:
    z = np.full(2000, -3.0)
    labels = np.repeat([1, 0], [49, 1951])
    assert choose_curve(labels, sigmoid(z)) == (Platt.fit(labels, sigmoid(z)), {})
    labels = np.repeat([1, 0], [50, 1950])
    assert list(choose_curve(labels, sigmoid(z))[1]) == ["platt", "beta", "spline"]


def test_isotonic_needs_a_thousand_of_both_labels() -> None:
    z = raw_logits(2000)
    for positives, tried in ((999, 3), (1000, 4), (1001, 3)):
        labels = np.repeat([1, 0], [positives, 2000 - positives])
        assert len(choose_curve(labels, sigmoid(z))[1]) == tried


def test_the_choice_is_the_same_each_time() -> None:
    z = raw_logits(2000)
    labels = drawn(0.5 * z)
    assert choose_curve(labels, sigmoid(z)) == choose_curve(labels, sigmoid(z))


def test_without_rows_platt_and_beta_change_nothing() -> None:
    p = np.array([0.01, 0.5, 0.99])
    for kind in (Platt, Beta):
        assert kind.fit(np.array([], int), np.array([])).apply(p) == pytest.approx(p)


def test_a_constant_prediction_is_shifted_towards_the_observed_rate() -> None:
    # All logits are 0, so only the shift moves, to where 1000 (sigmoid(s) - 0.8) + 25 s = 0.
    platt = Platt.fit(np.repeat([1, 0], [800, 200]), np.full(1000, 0.5))
    assert platt.slope == pytest.approx(1)
    assert 1000 * (sigmoid(np.array([platt.intercept]))[0] - 0.8) + 25 * platt.intercept == pytest.approx(0, abs=1e-6)
    assert 1.2 < platt.intercept < np.log(0.8 / 0.2)


def test_platts_parameters_are_the_distortions() -> None:
    z = raw_logits(200_000)
    platt = Platt.fit(drawn(0.6 * z - 0.4), sigmoid(z))
    assert (platt.slope, platt.intercept) == (pytest.approx(0.6, abs=0.02), pytest.approx(-0.4, abs=0.04))


def test_betas_parameters_are_the_distortions() -> None:
    z = raw_logits(200_000)
    beta = Beta.fit(drawn(DISTORTIONS[Beta](z)), sigmoid(z))
    assert (beta.a, beta.b, beta.c) == (pytest.approx(0.4, abs=0.03), pytest.approx(1.8, abs=0.05), pytest.approx(-0.3, abs=0.05))


@pytest.mark.parametrize("kind", [Platt, Beta, Spline])
def test_few_rows_move_it_little(kind: type[Platt]) -> None:
    curve = kind.fit(np.array([1, 0, 1]), np.array([0.05, 0.06, 0.04]))
    assert curve.apply(np.array([0.05]))[0] == pytest.approx(0.05, rel=0.15)


@pytest.mark.parametrize("kind", CANDIDATES)
def test_a_model_that_is_wrong_way_round_keeps_its_order(kind: type[Platt]) -> None:
    z = np.linspace(-4, 4, 2000)
    curve = kind.fit((z < 0).astype(int), sigmoid(z))
    assert np.all(np.diff(curve.apply(sigmoid(z))) > 0)


def test_isotonic_keeps_its_steps_from_becoming_ties() -> None:
    z = np.linspace(-4, 4, 10_000)
    labels = np.where(z < 0, np.arange(10_000) % 10 == 0, np.arange(10_000) % 2 == 0).astype(int)
    isotonic = Isotonic.fit(labels, sigmoid(z))
    q = isotonic.apply(sigmoid(np.linspace(-8, 8, 1000)))
    assert np.all(np.diff(q) > 0)
    # Two steps of rates 0.1 and 0.5: at their middles, logits -2 and 2, these are what is predicted.
    assert isotonic.apply(sigmoid(np.array([-2.0, 2.0]))) == pytest.approx([0.1, 0.5], abs=0.03)


def test_isotonic_rests_on_ten_of_both_labels_at_its_ends() -> None:
    # 500 rows without a positive, then 1500 at 0.2: the lowest step takes in as many rows as it needs for ten positives.
    labels = np.concatenate([np.zeros(500, int), (np.arange(1500) % 5 == 4).astype(int)])
    isotonic = Isotonic.fit(labels, np.linspace(0.01, 0.4, 2000))
    lowest = sigmoid(np.array(isotonic.y[1]))
    assert 10 / 600 < lowest < 0.2
    assert Isotonic.fit(np.zeros(30, int), np.linspace(0.1, 0.3, 30)).apply(np.array([0.2]))[0] < 1e-6


def same(curve: Any) -> Any:
    """Through JSON and back."""
    adapter: TypeAdapter[Any] = TypeAdapter(Curve)
    return adapter.validate_json(adapter.dump_json(curve))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(CANDIDATES),
    st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=60),
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
)
def test_results_are_probabilities_in_the_same_order(kind: Any, rows: list[tuple[int, float]], p: list[float]) -> None:
    curve = kind.fit(np.array([r[0] for r in rows], int), np.array([r[1] for r in rows]))
    q = curve.apply(np.sort(np.array(p)))
    assert np.all((q > 0) & (q < 1))
    assert np.all(np.diff(q) >= -1e-15)
    assert same(curve) == curve
    assert np.array_equal(same(curve).apply(np.array(p)), curve.apply(np.array(p)))


def test_float32_and_float64_agree() -> None:
    platt = Platt(slope=0.8, intercept=-0.2)
    p = np.linspace(0.001, 0.999, 100, dtype=np.float32)
    assert platt.apply(p) == pytest.approx(platt.apply(p.astype(np.float64)), abs=1e-12)


@pytest.mark.parametrize("slope", [0.0, -1.0, float("nan"), float("inf")])
def test_a_slope_that_would_turn_the_order_is_refused(slope: float) -> None:
    with pytest.raises(ValidationError):
        Platt(slope=slope)


@pytest.mark.parametrize(("x", "y"), [((0, 1), (1, 0)), ((1, 0), (0, 1)), ((0, 1), (0,)), ((0, 1), (0, float("inf")))])
def test_a_line_that_falls_or_is_no_line_is_refused(x: Any, y: Any) -> None:
    with pytest.raises(ValidationError):
        Spline(x=x, y=y)


def test_logit_and_sigmoid_are_inverse_without_overflow() -> None:
    p = np.array([1e-6, 0.3, 1 - 1e-6])
    assert sigmoid(logit(p)) == pytest.approx(p)
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()
    assert sigmoid(np.array([-1e4, 1e4])) == pytest.approx([0, 1])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(0, 60))
def test_the_bounded_fit_is_the_optimum(seed: int, width: int, rows: int) -> None:
    """No coefficient can be better: the gradient is 0 where it is free and points into the bound where it is held."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 3, (rows, width))
    y = rng.integers(0, 2, rows).astype(float)
    prior, precision = np.ones(width), rng.uniform(0.1, 10, width)
    lower = np.full(width, 0.5)
    theta = fit_logistic(x, y, 0.3, prior, precision, lower)
    gradient = (sigmoid(0.3 + x @ theta) - y) @ x + precision * (theta - prior)
    held = theta == lower
    assert np.abs(gradient[~held]).max(initial=0.0) < 1e-4 * (1 + rows)
    assert (gradient[held] >= 0).all()
    assert (theta >= lower).all()


def test_a_slope_that_wants_to_be_negative_stays_at_its_bound() -> None:
    z = np.linspace(-4, 4, 2000)
    assert Platt.fit((z < 0).astype(int), sigmoid(z)).slope == MIN_SLOPE


def test_a_gain_on_one_shoppers_pages_is_one_gain() -> None:
    # Ten shoppers with ten pages each: nine gain 0.1 on every page, one loses 0.6. By page that is clear, by shopper it is not.
    shopper = np.repeat(np.arange(10), 10)
    gain = np.where(shopper == 0, -0.6, 0.1)
    before, after = np.full(100, 0.7), 0.7 - gain
    assert gain.mean() == pytest.approx(0.03)
    assert clearly_worse(before, after, 1.0)
    assert not clearly_worse(before, after, 1.0, shopper)
    assert clearly_worse(before, before - 0.01, 2.0, shopper)
    assert not clearly_worse(before, after, 1.0, np.zeros(100, np.int64))
