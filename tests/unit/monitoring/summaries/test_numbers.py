import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from domain.errors import ContractError
from monitoring.summaries import BUCKETS, Numbers

finite = arrays(np.float64, st.integers(0, 400), elements=st.floats(allow_nan=True, allow_infinity=True, width=32))


@given(finite, finite, finite)
def test_merging_in_any_order_gives_the_summary_of_all_rows(a, b, c):
    whole = Numbers.of(np.concatenate([a, b, c]))
    one, two, three = (Numbers.of(x) for x in (a, b, c))
    assert one.merge(two.merge(three)) == whole
    assert three.merge(one).merge(two) == whole
    assert Numbers.from_bytes(whole.to_bytes()) == whole
    assert len(whole.code) <= BUCKETS
    assert whole.rows == len(a) + len(b) + len(c)


def test_few_values_are_kept_exactly():
    x = np.repeat([-3.0, -0.0, 0.0, 7.5, 1e300], [2, 1, 4, 3, 1])
    numbers = Numbers.of([*x, np.nan])
    assert numbers.low.tolist() == numbers.high.tolist() == [-3.0, 0.0, 7.5, 1e300]
    assert numbers.count.tolist() == [2, 5, 3, 1]
    assert (numbers.zeros, numbers.missing, numbers.rows) == (5, 1, 12)
    assert numbers.cdf([-4, -3, -1, 0, 7.5, 8]).tolist() == [0, 2 / 11, 2 / 11, 7 / 11, 10 / 11, 10 / 11]


def test_amounts_over_decades_are_known_to_a_few_percent():
    x = np.random.default_rng(1).lognormal(3, 1, 200_000)
    numbers = Numbers.of(x)
    q = np.array([0.01, 0.1, 0.5, 0.9, 0.99, 0.999])
    assert numbers.quantile(q) == pytest.approx(np.quantile(x, q), rel=0.03)
    assert numbers.mean() == pytest.approx(x.mean(), rel=0.01)
    assert numbers.deviation() == pytest.approx(x.std(), rel=0.02)
    assert len(numbers.to_bytes()) < 1200


def test_what_is_narrow_and_far_from_zero_is_told_apart():
    # A clock's ms within one day: 86.4e6 of 1.7e12, less than the 1 % of any fixed relative grid.
    x = 1.7e12 + np.random.default_rng(2).uniform(0, 86.4e6, 10_000)
    assert Numbers.of(x).quantile(0.5) == pytest.approx(np.median(x), abs=600_000)


def test_two_distributions_are_counted_in_the_same_buckets():
    rng = np.random.default_rng(3)
    many, few = Numbers.of(rng.normal(0, 1, 50_000)), Numbers.of([0.5, 0.5, 2.0])
    grid = many.on_grid_of(few)
    assert grid.count.sum() == 50_000
    assert grid.other.sum() == 3
    for x in (0.5, 2.0):
        (at,) = np.flatnonzero((grid.low <= x) & (x <= grid.high))
        assert grid.other[at] > 0
    assert np.all(grid.low[1:] > grid.high[:-1])


def test_a_histogram_becomes_the_summary_of_its_rows():
    assert Numbers.counted([5.0, 1.0, 5.0, 9.0], [2, 3, 1, 0], missing=4) == Numbers.of([1, 1, 1, 5, 5, 5, *[np.nan] * 4])


def test_nothing_has_no_quantile():
    nothing = Numbers.of([np.nan])
    assert np.isnan([nothing.mean(), nothing.deviation(), *nothing.quantile([0.5]), *nothing.cdf(1.0)]).all()
    assert nothing.merge(nothing).missing == 2


def test_all_floats_fit():
    huge = np.finfo(np.float64).max
    x = np.ldexp(1.0, np.arange(-1074, 1024))
    x = np.concatenate([x, -x, [huge, -huge]])
    numbers = Numbers.of(x)
    assert len(numbers.code) <= BUCKETS
    assert np.isfinite([numbers.low, numbers.high]).all()
    assert numbers.rows == 2 * 2098 + 2


def test_what_is_damaged_is_named():
    text = Numbers.of([1.0]).to_bytes()
    with pytest.raises(ContractError, match="is damaged"):
        Numbers.from_bytes(text[:-3])
    with pytest.raises(ContractError, match="kind"):
        Numbers.from_bytes(b"x" + text[1:])
