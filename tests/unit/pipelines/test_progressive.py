"""Calibrations that move on as a progressive pass does, and scores that find their rows again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.errors import ContractError
from features.market import Market
from models.calibration import Calibrator, Platt, TaskCalibration, sigmoid
from pipelines.progressive import BLOCKS, by_row, calibrate_in_time
from tests.unit.pipelines.conftest import MakeMarket

N = 8000


@pytest.fixture
def market(make_market: MakeMarket) -> Market:
    return make_market()


def columns(n: int, off: float, seed: int, from_ms: int = 0) -> dict[str, Any]:
    """Clicks whose logit is `off` above the model's; four in ten convert, as it says."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-1, 1, n)
    click = (rng.random(n) < sigmoid(z + off)).astype(np.int64)
    rows = {
        "click": click,
        "conversion": click * (rng.random(n) < 0.4),
        "raw.ctr": sigmoid(z).astype(np.float32),
        "raw.cvr": np.full(n, 0.4, np.float32),
        "time_ms": from_ms + np.arange(n),
    }
    shuffled = rng.permutation(n)  # Beam keeps no order
    return {name: column[shuffled] for name, column in rows.items()}


def pcoc(rows: dict[str, Any], p: Any, chosen: Any) -> float:
    return float(p[chosen].sum() / rows["click"][chosen].sum())


def test_each_part_is_calibrated_by_what_came_before_it(market: Market) -> None:
    rows = columns(N, off=0.8, seed=1)
    identity = Calibrator(tasks={t.name: TaskCalibration() for t in market.tasks})
    fitted, found = calibrate_in_time(market, rows, None, identity)
    p, part = found["calibrated.ctr"], rows["time_ms"] * BLOCKS // N
    # Nothing was before the first, which is as the model says; the second already knows.
    assert pcoc(rows, p, part == 0) == pytest.approx(pcoc(rows, rows["raw.ctr"], part == 0), abs=1e-3)
    assert pcoc(rows, p, part == 0) < 0.75
    for later in range(1, BLOCKS):
        assert pcoc(rows, p, part == later) == pytest.approx(1, abs=0.08)
    assert fitted.tasks["ctr"].rows == N
    assert fitted.apply("ctr", rows["raw.ctr"]).sum() == pytest.approx(rows["click"].sum(), rel=0.02)


def test_it_goes_on_from_rows_of_the_turns_before(market: Market) -> None:
    before = columns(N, off=0.8, seed=2, from_ms=-N)
    rows = columns(400, off=0.8, seed=3)
    fitted, found = calibrate_in_time(market, rows, before, None)
    first = rows["time_ms"] < 100
    assert pcoc(rows, found["calibrated.ctr"], first) == pytest.approx(1, abs=0.25)
    assert fitted.tasks["ctr"].rows == N + 400


def test_a_task_without_rows_keeps_the_calibration_it_has(market: Market) -> None:
    rows = columns(N, off=0.0, seed=4) | {"conversion_usable": np.zeros(N, np.int64)}
    kept = TaskCalibration(curve=Platt(slope=1.0, intercept=-1.0))
    former = Calibrator(tasks={"ctr": TaskCalibration(), "cvr": kept})
    fitted, _ = calibrate_in_time(market, rows, None, former)
    assert fitted.tasks["cvr"] == kept
    assert fitted.tasks["ctr"].rows == N


def test_columns_find_their_rows_whatever_order_they_come_in(tmp_path: Path) -> None:
    np.savez(tmp_path / "saved.npz", **{"eval/log_row": [5, 3, 9], "eval/raw.ctr": [0.5, 0.3, 0.9], "valid/raw.ctr": [0.1]})
    found = by_row(tmp_path / "saved.npz", {"log_row": np.array([9, 5, 3])}, "eval/")
    assert found["raw.ctr"].tolist() == [0.9, 0.5, 0.3]
    assert found.keys() == {"raw.ctr"}


def test_a_row_that_was_not_scored_is_an_error_and_not_another_rows_score(tmp_path: Path) -> None:
    np.savez(tmp_path / "saved.npz", **{"log_row": [5, 3, 9], "raw.ctr": [0.5, 0.3, 0.9]})
    for missing in (2, 4, 12):
        with pytest.raises(ContractError, match=f"row {missing} is not there"):
            by_row(tmp_path / "saved.npz", {"log_row": np.array([9, missing, 3])})
