"""What a stream usually does is learned: z is standard normal on normal days in any weather, and large on a fault."""

import numpy as np
import pytest

from monitoring.detection.distances import Floats
from monitoring.detection.weather import PERSISTENCE, Weather

STREAMS = 100
NOBODY = np.zeros(STREAMS, dtype=bool)


def _lasting(rng: np.random.Generator, hours: int, size: float) -> Floats:
    level, path = rng.normal(size=STREAMS), []
    for _ in range(hours):
        level = PERSISTENCE * level + np.sqrt(1 - PERSISTENCE**2) * rng.normal(size=STREAMS)
        path.append(size * level)
    return np.array(path)


def _judged(deviation: Floats, noise: float = 1.0, least: float = 1.0) -> tuple[Weather, Floats]:
    weather, z = Weather(), []
    weather.grow(STREAMS)
    for hour in deviation:
        arguments = hour, np.full(STREAMS, noise), np.full(STREAMS, least)
        z.append(weather.judge(*arguments))
        weather.learn(*arguments, frozen=NOBODY)
    return weather, np.array(z)


@pytest.mark.parametrize("size", [0.0, 1.0, 5.0])
def test_normal_hours_are_standard_normal_in_any_weather(size: float) -> None:
    rng = np.random.default_rng(1)
    _, z = _judged(_lasting(rng, 24 * 21, size) + rng.normal(size=(24 * 21, STREAMS)))
    settled = z[24 * 7 :]
    assert 0.65 < settled.std() < 1.05
    assert abs((settled[1:] * settled[:-1]).mean()) < 0.12  # what lasts is predicted, so that what is left does not last
    assert (settled > 3.0).mean() < 0.0015  # 0.00135 if normal


def test_a_shift_of_many_times_the_usual_is_far_out_at_once() -> None:
    rng = np.random.default_rng(2)
    deviation = rng.normal(size=(24 * 14, STREAMS))
    deviation[-1] += 12.0
    _, z = _judged(deviation)
    assert np.median(z[-1]) > 5.5


def test_on_the_first_day_it_has_no_opinion() -> None:
    _, z = _judged(np.random.default_rng(3).normal(size=(30, STREAMS)))
    assert np.isnan(z[:24]).all()
    assert not np.isnan(z[24:]).any()


def test_few_days_have_heavy_tails() -> None:
    deviation = np.random.default_rng(4).normal(size=(24 * 14, STREAMS))
    deviation[25], deviation[-1] = 8.0, 8.0
    _, z = _judged(deviation)
    assert np.median(z[25]) < 0.7 * np.median(z[-1])


def test_missing_hours_say_nothing_and_teach_nothing() -> None:
    weather, z = _judged(np.full((48, STREAMS), np.nan))
    assert np.isnan(z).all()
    assert (weather.hours == 0).all()


def test_an_alarm_teaches_nothing() -> None:
    weather, _ = _judged(np.random.default_rng(5).normal(size=(48, STREAMS)))
    before = weather.variance.copy(), weather.hours.copy()
    weather.learn(np.full(STREAMS, 50.0), np.ones(STREAMS), np.ones(STREAMS), frozen=~NOBODY)
    assert (weather.variance == before[0]).all()
    assert (weather.hours == before[1]).all()
