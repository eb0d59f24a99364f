"""After a few failures in a row nobody waits, until a probe succeeds."""

import pytest

from domain.errors import Unavailable
from serving.gateway.adapters.breaker import Breaker

FAILURES, OPEN_S = 3, 0.25


class Clock:
    """Stands still unless told otherwise."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("ranker", FAILURES, OPEN_S, clock)


def lets_through(breaker: Breaker) -> bool:
    try:
        breaker.check()
    except Unavailable:
        return False
    return True


def fail(breaker: Breaker, times: int = FAILURES) -> None:
    for _ in range(times):
        breaker.record(ok=False)


def test_a_few_failures_change_nothing(breaker):
    fail(breaker, FAILURES - 1)
    assert (lets_through(breaker), breaker.closed) == (True, True)
    breaker.record(ok=True)
    fail(breaker, FAILURES - 1)
    assert lets_through(breaker)


def test_several_in_a_row_open_it(breaker, clock):
    fail(breaker)
    assert not breaker.closed
    clock.now_s += OPEN_S - 0.01
    with pytest.raises(Unavailable, match="ranker: not asked: the last 3 calls failed"):
        breaker.check()


def test_after_a_moment_one_call_goes_through_and_no_other(breaker, clock):
    fail(breaker)
    clock.now_s += OPEN_S
    assert [lets_through(breaker) for _ in range(5)] == [True, False, False, False, False]


def test_a_probe_that_fails_opens_it_again(breaker, clock):
    fail(breaker)
    clock.now_s += OPEN_S
    assert lets_through(breaker)
    clock.now_s += 0.1
    breaker.record(ok=False)
    clock.now_s += OPEN_S - 0.01
    assert not lets_through(breaker)
    clock.now_s += 0.01
    assert lets_through(breaker)


def test_a_probe_that_succeeds_closes_it(breaker, clock):
    fail(breaker)
    clock.now_s += OPEN_S
    assert lets_through(breaker)
    breaker.record(ok=True)
    assert [lets_through(breaker) for _ in range(3)] == [True, True, True]


def test_a_probe_that_is_never_heard_of_is_followed_by_another(breaker, clock):
    fail(breaker)
    clock.now_s += OPEN_S
    assert lets_through(breaker)
    clock.now_s += OPEN_S
    assert [lets_through(breaker) for _ in range(2)] == [True, False]
