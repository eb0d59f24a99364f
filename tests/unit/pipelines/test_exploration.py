"""Exploration as rows tell it, from the log through the split to what is measured."""

import numpy as np
import pyarrow as pa
import pytest

from features.spec import EXPLORED, PROPENSITY
from pipelines.exploration import choice, exploration_columns, on_explored


def test_what_the_log_says_is_kept_and_what_else_is_meant_by_the_names_is_not_known() -> None:
    said = exploration_columns({"explored": pa.array([1, 0, None, 7]), "propensity": pa.array([0.25, 1.0, None, 1.5])}, 4)
    assert said[EXPLORED].to_pylist() == [1, 0, -1, -1]
    assert said[PROPENSITY].to_pylist() == [250_000_000, 1_000_000_000, -1, -1]
    text = exploration_columns({"explored": pa.array(["1", "0"]), "propensity": pa.array(["often", "1e-12"])}, 2)
    assert text[EXPLORED].to_pylist() == [1, 0]
    assert text[PROPENSITY].to_pylist() == [-1, -1]
    assert exploration_columns({"propensity": pa.array([1e-12])}, 1)[PROPENSITY].to_pylist() == [1]
    nothing = exploration_columns({}, 2)
    assert [column.to_pylist() for column in nothing.values()] == [[-1, -1]] * 2


def test_rows_that_do_not_say_are_measured_without() -> None:
    labels, p = np.array([0, 1, 1]), np.array([0.1, 0.5, 0.9])
    rows = {"click": labels, "calibrated.ctr": p}
    every = np.ones(3, bool)
    assert on_explored(rows, "click", "calibrated.ctr", every) is None
    assert choice(rows, "click", "calibrated.ctr", p, every) is None
    rows |= {EXPLORED: np.array([1, 1, 0]), PROPENSITY: np.array([5e8, 5e8, -1]).astype(np.int64)}
    told = on_explored(rows, "click", "calibrated.ctr", every)
    assert told is not None
    assert (told.rows, told.positives, told.pcoc) == (2, 1, pytest.approx(0.6))
    found = choice(rows, "click", "calibrated.ctr", -p, every)
    assert found is not None
    assert (found.rows, found.at_random, found.ours, found.theirs) == (2, 0.5, 1.0, 0.0)
