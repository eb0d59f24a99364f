"""What a stream usually does is learned: z is standard normal on normal days in any weather, and large on a fault."""

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.detection.distances import Floats
from monitoring.detection.weather import PERSISTENCE, Weather

STREAMS = 100
NOBODY = np.zeros(STREAMS, dtype=bool)
KIN = np.zeros(STREAMS, dtype=np.int64)
STRANGERS = np.arange(STREAMS)


def _lasting(rng: np.random.Generator, hours: int, size: float) -> Floats:
    level, path = rng.normal(size=STREAMS), []
    for _ in range(hours):
        level = PERSISTENCE * level + np.sqrt(1 - PERSISTENCE**2) * rng.normal(size=STREAMS)
        path.append(size * level)
    return np.array(path)


def _judged(deviation: Floats, kin: NDArray[np.int64] = KIN) -> tuple[Weather, Floats]:
    weather, z = Weather(), []
    weather.grow(STREAMS)
    for hour in deviation:
        arguments = hour, np.ones(STREAMS), np.ones(STREAMS)
        z.append(weather.judge(*arguments, kin))
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


def test_a_stream_without_kin_needs_days_to_know_how_far_out_is_far() -> None:
    deviation = np.random.default_rng(4).normal(size=(24 * 14, STREAMS))
    deviation[30], deviation[-1] = 12.0, 12.0
    (_, alone), (_, together) = _judged(deviation, STRANGERS), _judged(deviation)
    assert np.median(alone[30]) < 0.6 * np.median(alone[-1])
    assert np.median(together[30]) > 5.8  # what one of 3,000 streams needs for an alarm within the hour
    assert np.median(together[-1]) >= np.median(alone[-1])


def test_kin_that_are_not_alike_know_little_of_each_other() -> None:
    rng = np.random.default_rng(6)
    alike = rng.normal(size=(24 * 3, STREAMS))
    # Of each as much as of the others until the errors count, and from then on ever more or less.
    unlike = alike * np.where(np.arange(24 * 3) < 12, 1.0, 5.0)[:, None] ** np.sign(rng.normal(size=STREAMS))
    for deviation in (alike, unlike):
        deviation[-1] = 12.0 * deviation[-25:-1].std(axis=0)
    (_, far), (_, doubtful) = _judged(alike), _judged(unlike)
    assert np.median(doubtful[-1]) < 0.7 * np.median(far[-1])


def test_a_stream_that_was_often_wrong_is_judged_by_its_own_errors() -> None:
    rng = np.random.default_rng(7)
    deviation = rng.normal(size=(24 * 4, STREAMS))
    deviation[::6, 0] += 6.0  # every so often, so that no unit fits it
    deviation[-1] = 9.0
    _, z = _judged(deviation)
    assert z[-1, 0] < 0.5 * np.median(z[-1])


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
