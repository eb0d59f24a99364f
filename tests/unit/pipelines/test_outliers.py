"""One value that makes a normalised feature useless."""

import numpy as np

from pipelines.outliers import Outlier, Spread


def spread(*parts: np.ndarray) -> Spread:
    found = Spread()
    for part in parts:
        found.take(part)
    return found


def test_parts_add_up() -> None:
    values = np.random.default_rng(0).normal(5, 2, 1000)
    found = spread(values[:10], np.array([np.nan]), values[10:700], values[700:])
    np.testing.assert_allclose([found.mean, found.squares], [values.mean(), 1000 * values.var()])
    assert (found.count, found.least, found.greatest) == (1000, values.min(), values.max())
    assert found.outlier is None


def test_one_value_far_out_is_found() -> None:
    found = spread(np.random.default_rng(0).normal(5, 2, 1000), np.array([1e20]))
    assert found.outlier == Outlier(1e20, found.outlier.share)  # type: ignore[union-attr]
    assert found.outlier.share > 0.99  # type: ignore[union-attr]


def test_a_long_tail_is_no_single_value() -> None:
    assert spread(np.random.default_rng(0).lognormal(0, 2, 10_000)).outlier is None
    assert spread(np.repeat([0.0, 1.0], [990, 10])).outlier is None


def test_few_values_say_nothing() -> None:
    assert spread(np.array([1.0, 2.0, 1e9])).outlier is None
