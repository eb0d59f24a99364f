import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.calibration import MIN_SLOPE, Calibrator, Platt, logit, sigmoid


def test_without_rows_nothing_changes() -> None:
    platt = Platt.fit(np.array([], int), np.array([]))
    p = np.array([0.01, 0.5, 0.99])
    assert (platt.slope, platt.intercept, platt.rows) == (1, 0, 0)
    assert platt.apply(p) == pytest.approx(p)


def test_a_constant_prediction_is_shifted_towards_the_observed_rate() -> None:
    # All logits are 0, so only the shift moves, to where 1000 (sigmoid(s) - 0.8) + 25 s = 0.
    platt = Platt.fit(np.repeat([1, 0], [800, 200]), np.full(1000, 0.5))
    assert platt.slope == pytest.approx(1)
    assert 1000 * (sigmoid(np.array([platt.intercept]))[0] - 0.8) + 25 * platt.intercept == pytest.approx(0, abs=1e-6)
    assert 1.2 < platt.intercept < np.log(0.8 / 0.2)
    assert (platt.rows, platt.positives) == (1000, 800)


def test_finds_back_a_known_distortion() -> None:
    rng = np.random.default_rng(7)
    truth = rng.normal(-2, 1.5, 200_000)
    labels = (rng.random(len(truth)) < sigmoid(truth)).astype(int)
    # The model says z where the truth is 0.6 z - 0.4.
    platt = Platt.fit(labels, sigmoid((truth + 0.4) / 0.6))
    assert platt.slope == pytest.approx(0.6, abs=0.02)
    assert platt.intercept == pytest.approx(-0.4, abs=0.04)


def test_few_rows_move_it_little() -> None:
    platt = Platt.fit(np.array([1, 0, 1]), np.array([0.05, 0.06, 0.04]))
    assert platt.apply(np.array([0.05]))[0] == pytest.approx(0.05, rel=0.15)


def test_a_model_that_is_wrong_way_round_keeps_its_order() -> None:
    z = np.linspace(-4, 4, 2000)
    platt = Platt.fit((z < 0).astype(int), sigmoid(z))
    assert platt.slope == MIN_SLOPE
    assert np.all(np.diff(platt.apply(sigmoid(z))) >= 0)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), max_size=60),
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
)
def test_results_are_probabilities_in_the_same_order(rows: list[tuple[int, float]], p: list[float]) -> None:
    platt = Platt.fit(np.array([r[0] for r in rows], int), np.array([r[1] for r in rows]))
    q = platt.apply(np.sort(np.array(p)))
    assert np.all((q > 0) & (q < 1))
    assert np.all(np.diff(q) >= 0)


def test_float32_and_float64_agree() -> None:
    platt = Platt(slope=0.8, intercept=-0.2)
    p = np.linspace(0.001, 0.999, 100, dtype=np.float32)
    assert platt.apply(p) == pytest.approx(platt.apply(p.astype(np.float64)), abs=1e-12)


def test_the_artifact_survives_a_round_trip() -> None:
    calibrator = Calibrator(tasks={"ctr": Platt(slope=0.9, intercept=0.1, rows=10, positives=3)})
    again = Calibrator.model_validate_json(calibrator.model_dump_json())
    assert again == calibrator
    assert again.apply("ctr", np.array([0.5])) == pytest.approx(sigmoid(np.array([0.1])))
    with pytest.raises(KeyError):
        again.apply("cvr", np.array([0.5]))


@pytest.mark.parametrize("slope", [0.0, -1.0, float("nan"), float("inf")])
def test_a_slope_that_would_turn_the_order_is_refused(slope: float) -> None:
    with pytest.raises(ValidationError):
        Platt(slope=slope)


def test_logit_and_sigmoid_are_inverse_without_overflow() -> None:
    p = np.array([1e-6, 0.3, 1 - 1e-6])
    assert sigmoid(logit(p)) == pytest.approx(p)
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()
    assert sigmoid(np.array([-1e4, 1e4])) == pytest.approx([0, 1])
