import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration import Calibrator, Platt, TaskCalibration, logit, sigmoid
from models.calibration.slices import SliceShifts, fit_shifts

FORMAT = np.tile(["standard", "shopping"], 20_000)
CAMPAIGN = np.repeat([f"c{i}" for i in range(40)], 1000)
Z = np.random.default_rng(3).normal(-2, 1, 40_000)
FORMAT_SHIFT = {"standard": 0.3, "shopping": -0.3}
CAMPAIGN_SHIFT = {f"c{i}": s for i, s in enumerate(np.random.default_rng(4).normal(0, 0.5, 40))}


def drawn(logits: Any, seed: int = 7) -> Any:
    return (np.random.default_rng(seed).random(len(logits)) < sigmoid(logits)).astype(int)


def shifted() -> Any:
    return drawn(Z + [FORMAT_SHIFT[f] + CAMPAIGN_SHIFT[c] for f, c in zip(FORMAT, CAMPAIGN, strict=True)])


def test_slices_are_told_apart() -> None:
    fitted = fit_shifts(shifted(), Z, {"format": FORMAT, "campaign": CAMPAIGN})
    shift = fitted["format"].shift
    assert shift["standard"] - shift["shopping"] == pytest.approx(0.6, abs=0.1)
    campaign = fitted["campaign"].shift
    error = [campaign[c] - s for c, s in CAMPAIGN_SHIFT.items()]
    # A thousand rows at a rate near 0.14 tell a shift to 1 / sqrt(120) = 0.09; the shifts themselves spread by 0.5.
    assert np.std(error) < 0.13


def test_the_spread_of_the_shifts_is_learned() -> None:
    differ = fit_shifts(shifted(), Z, {"campaign": CAMPAIGN})["campaign"]
    alike = fit_shifts(drawn(Z), Z, {"campaign": CAMPAIGN})["campaign"]
    # 1 / 0.5^2 = 4 where they differ.
    assert 2 < differ.precision < 8
    assert alike.precision > 50
    assert np.abs(list(alike.shift.values())).max() < 0.2


def test_a_value_with_few_rows_hardly_moves_and_an_unseen_one_not_at_all() -> None:
    # Ten rows of a rare value, all positive at p = 0.5; a thousand of a common one, as predicted.
    labels = np.concatenate([np.ones(10, int), np.arange(1000) % 2])
    shifts = fit_shifts(labels, np.zeros(1010), {"format": ["rare"] * 10 + ["common"] * 1000})["format"]
    assert 0 < shifts.shift["rare"] < 0.35  # its own rows alone would ask for infinity
    assert shifts.of(["rare", "never seen"]) == pytest.approx([shifts.shift["rare"], 0])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 200))
def test_the_shifts_are_the_joint_optimum(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    z, labels = rng.normal(0, 3, rows), rng.integers(0, 2, rows)
    slices = {"a": rng.choice(["x", "y", "z"], rows), "b": rng.choice(["u", "v"], rows)}
    fitted = fit_shifts(labels, z, slices)
    residual = sigmoid(z + sum(fitted[n].of(slices[n]) for n in slices)) - labels if rows else np.array([])
    for name, one in fitted.items():
        for value, shift in one.shift.items():
            here = slices[name] == value
            assert residual[here].sum() + one.precision * shift == pytest.approx(0, abs=0.01 * (1 + rows + one.precision))


def test_a_value_that_is_wholly_misjudged_converges() -> None:
    # 0.1 % predicted, always clicked: a full Newton step from 0 would go 38 logits too far.
    shifts = fit_shifts(np.ones(1000, int), np.full(1000, -6.9), {"format": ["a"] * 1000})["format"]
    s = shifts.shift["a"]
    assert 1000 * (1 - sigmoid(np.array(-6.9 + s))) == pytest.approx(shifts.precision * s, rel=0.01)


def test_many_values_are_fitted_in_seconds() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 20_000, 100_000).astype(str)
    began = time.process_time()
    assert (
        len(fit_shifts(drawn(rng.normal(-2, 1, 100_000)), np.full(100_000, -2.0), {"offer_id": values})["offer_id"].shift)
        > 19_000
    )
    assert time.process_time() - began < 20


CALIBRATION = TaskCalibration(
    curve=Platt(slope=0.5, intercept=0.1),
    slices={
        "campaign": SliceShifts(precision=25, shift={"a": 0.2, "b": -0.2}),
        "device": SliceShifts(precision=25, shift={"mobile": 1.0}),
    },
    cv_log_loss={"platt": 0.4},
    rows=10,
    positives=3,
)


def test_a_row_gets_the_curve_and_the_shifts_of_its_slices() -> None:
    p = np.array([0.5, 0.5, 0.9], np.float32)
    q = CALIBRATION.apply(p, {"campaign": ["a", "b", "c"], "device": ["mobile"]})
    # logit(0.9) = ln 9
    assert logit(q) == pytest.approx([0.1 + 0.2 + 1, 0.1 - 0.2 + 1, 0.5 * np.log(9) + 0.1 + 1], abs=1e-6)


def test_a_missing_slice_or_task_is_an_error() -> None:
    calibrator = Calibrator(tasks={"ctr": CALIBRATION})
    assert calibrator.slices == ("campaign", "device")
    with pytest.raises(KeyError, match="device"):
        calibrator.apply("ctr", np.array([0.5]), {"campaign": ["a"]})
    with pytest.raises(KeyError, match="cvr"):
        calibrator.apply("cvr", np.array([0.5]))


def test_the_artifact_survives_a_round_trip() -> None:
    calibrator = Calibrator(tasks={"ctr": CALIBRATION, "cvr": TaskCalibration()})
    again = Calibrator.model_validate_json(calibrator.model_dump_json())
    assert again == calibrator
    slices = {"campaign": ["a"], "device": ["x"]}
    assert again.apply("ctr", np.array([0.3]), slices) == calibrator.apply("ctr", np.array([0.3]), slices)
    assert again.apply("cvr", np.array([0.3])) == pytest.approx([0.3])


def test_slices_are_fitted_over_the_curve_and_the_fit_says_on_what() -> None:
    fitted = TaskCalibration.fit(shifted(), sigmoid(0.5 * Z), {"format": FORMAT})
    assert (fitted.rows, fitted.positives) == (40_000, int(shifted().sum()))
    assert fitted.curve.kind == "platt"
    assert fitted.cv_log_loss["sliced"] < fitted.cv_log_loss["platt"] - 0.001
    q = fitted.apply(sigmoid(0.5 * Z), {"format": FORMAT})
    for value in FORMAT_SHIFT:
        here = value == FORMAT
        assert q[here].mean() == pytest.approx(shifted()[here].mean(), rel=0.02)


def test_slices_that_do_not_pay_are_left_out() -> None:
    # 300 values that say nothing, a handful of rows each.
    labels, noise = drawn(Z[:3000]), np.random.default_rng(9).integers(0, 300, 3000).astype(str)
    fitted = TaskCalibration.fit(labels, sigmoid(Z[:3000]), {"noise": noise})
    assert fitted.cv_log_loss["sliced"] > fitted.cv_log_loss["platt"]
    assert fitted.slices == {}
    few = TaskCalibration.fit(np.repeat([1, 0], [40, 60]), np.full(100, 0.3), {"format": FORMAT[:100]})
    assert (few.slices, few.cv_log_loss) == ({}, {})


def test_no_rows_change_nothing() -> None:
    fitted = TaskCalibration.fit(np.array([], int), np.array([]), {"format": []})
    assert fitted.apply(np.array([0.2]), {"format": ["standard"]}) == pytest.approx([0.2])
