from typing import Any

import numpy as np
import pytest

from features.market import Market
from models.calibration import sigmoid
from pipelines.calibration import calibrated, counting, fit_calibrator

N = 20_000


@pytest.fixture
def market(make_market: Any) -> Market:
    return make_market(calibration={"slices": ["brand"]})


@pytest.fixture
def columns() -> dict[str, Any]:
    """Clicks as predicted but for one brand; conversions, of which half are predicted, of clicks alone."""
    rng = np.random.default_rng(2)
    brand = rng.choice(["b0", "b1"], N).astype(object)
    z = rng.normal(-1, 1, N)
    click = (rng.random(N) < sigmoid(z + 0.6 * (brand == "b1"))).astype(int)
    conversion = click * (rng.random(N) < 0.4)
    return {
        "brand": brand,
        "click": click,
        "conversion": conversion.astype(int),
        "raw.ctr": sigmoid(z).astype(np.float32),
        "raw.cvr": np.full(N, 0.2, np.float32),
    }


def test_a_task_with_given_is_fitted_on_the_rows_that_count(market: Market, columns: dict[str, Any]) -> None:
    calibrator = fit_calibrator(market, columns)
    clicks = int(columns["click"].sum())
    assert (calibrator.tasks["ctr"].rows, calibrator.tasks["cvr"].rows) == (N, clicks)
    assert calibrator.tasks["cvr"].positives == int(columns["conversion"].sum())
    assert [int(counting(t, columns).sum()) for t in market.tasks] == [N, clicks]
    # Of the rows that count 0.4 convert, of all of them far fewer.
    q = calibrated(market, calibrator, columns)["calibrated.cvr"]
    assert q == pytest.approx(np.full(N, 0.4), abs=0.02)


def test_rows_whose_label_is_not_usable_are_left_out(market: Market, columns: dict[str, Any]) -> None:
    # In the younger half no conversion has come yet; all clicks are known.
    young = np.arange(N) >= N // 2
    columns["conversion"][young] = 0
    usable = {"click_usable": np.ones(N, int), "conversion_usable": (~young).astype(int)}
    q = calibrated(market, fit_calibrator(market, columns | usable), columns)["calibrated.cvr"]
    assert q == pytest.approx(np.full(N, 0.4), abs=0.02)
    biased = calibrated(market, fit_calibrator(market, columns), columns)["calibrated.cvr"]
    assert biased == pytest.approx(np.full(N, 0.2), abs=0.02)


def test_a_task_without_rows_keeps_its_former_calibration(market: Market, columns: dict[str, Any]) -> None:
    former = fit_calibrator(market, columns)
    none = {"conversion_usable": np.zeros(N, int)}
    calibrator = fit_calibrator(market, columns | none, former)
    assert calibrator.tasks["cvr"] == former.tasks["cvr"]
    assert fit_calibrator(market, columns | none).tasks["cvr"].rows == 0


def test_slices_of_the_market_are_corrected(market: Market, columns: dict[str, Any]) -> None:
    calibrator = fit_calibrator(market, columns)
    assert calibrator.slices == ("brand",)
    q = calibrated(market, calibrator, columns)["calibrated.ctr"]
    for value in ("b0", "b1"):
        here = columns["brand"] == value
        assert q[here].mean() == pytest.approx(columns["click"][here].mean(), rel=0.02)
    assert calibrator.tasks["cvr"].slices == {}


def test_a_calibrator_with_slices_the_market_no_longer_names_still_applies(make_market: Any, columns: dict[str, Any]) -> None:
    market = make_market(calibration={"slices": ["brand"]})
    calibrator = fit_calibrator(market, columns)
    assert np.array_equal(
        calibrated(make_market(), calibrator, columns)["calibrated.ctr"],
        calibrated(market, calibrator, columns)["calibrated.ctr"],
    )


def test_without_slices_there_is_only_the_curve(make_market: Any, columns: dict[str, Any]) -> None:
    calibrator = fit_calibrator(make_market(), columns)
    assert calibrator.slices == ()
    assert calibrator.tasks["ctr"].curve.kind == "platt"
