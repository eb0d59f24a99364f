import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import MAX_MICROS, format_micros, pace_bid_micros, to_price_micros, to_prices_micros


@pytest.mark.parametrize(
    ("exact", "bid", "price"),
    [
        (0.0, 10, 0),
        (3.0, 10, 3),
        (3.0000000001, 10, 3),
        (3.1, 10, 4),
        (9.5, 10, 10),
        (10.1, 10, 10),
        (1e18, 10, 10),
        (-1.0, 10, 0),
    ],
)
def test_prices_round_up_to_whole_micros_and_stop_at_the_bid(exact: float, bid: int, price: int) -> None:
    assert to_price_micros(exact, bid) == price
    assert exact < 0 or to_prices_micros(np.array([exact]), np.array([bid])).tolist() == [price]


@given(st.floats(0, 1e15), st.integers(0, MAX_MICROS))
def test_a_price_is_at_least_the_exact_one_but_for_the_tolerance_or_the_bid(exact: float, bid: int) -> None:
    price = to_price_micros(exact, bid)
    assert 0 <= price <= bid
    assert price == bid or exact - 1e-6 <= price < exact + 1


@given(st.integers(0, MAX_MICROS), st.floats(0, 1))
def test_pacing_never_raises_a_bid(bid: int, multiplier: float) -> None:
    (paced,) = pace_bid_micros(np.array([bid]), np.array([multiplier]))
    assert 0 <= paced <= bid
    assert multiplier < 1 or paced == bid


@pytest.mark.parametrize(
    ("micros", "shown"),
    [
        (0, "0.00 USD"),
        (1, "0.000001 USD"),
        (1_234_567, "1.234567 USD"),
        (2_500_000, "2.50 USD"),
        (-10_000, "-0.01 USD"),
        (1_234_567_890_120_000, "1,234,567,890.12 USD"),
    ],
)
def test_money_is_written_exactly(micros: int, shown: str) -> None:
    assert format_micros(micros, "USD") == shown
