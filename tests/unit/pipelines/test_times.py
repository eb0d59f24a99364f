"""Times of one unit, whatever unit, type or form a file has them in."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from domain.errors import InvalidTrainingData
from pipelines.times import Clock, as_logged, time_column

DAY_US = 86_400_000_000
JANUARY_2ND = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
JANUARY_2ND_US = 1_767_312_000_000_000


def where(row: int) -> str:
    return f"row {row + 1}"


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "+02:00"])
def test_timestamps_of_all_units_are_the_same_microseconds(unit: str, zone: str | None) -> None:
    times = time_column(pa.array([JANUARY_2ND], pa.timestamp("us")).cast(pa.timestamp(unit, zone)), where)
    assert times.moments
    assert times.values.tolist() == [JANUARY_2ND_US]


def test_dates_are_their_first_moment() -> None:
    for kind in (pa.date32(), pa.date64()):
        assert time_column(pa.array([JANUARY_2ND.date()], kind), where).values.tolist() == [JANUARY_2ND_US]


@pytest.mark.parametrize(
    ("said", "micros"),
    [
        ("2026-01-02", 0),
        ("2026-01-02T08:00:00", 8 * 3600 * 10**6),
        ("2026-01-02 08:00", 8 * 3600 * 10**6),
        ("2026-01-02T08:00:00Z", 8 * 3600 * 10**6),
        ("2026-01-02 08:00:00 UTC", 8 * 3600 * 10**6),
        ("2026-01-02T08:00:00+02:00", 6 * 3600 * 10**6),
        ("2026-01-02T08:00:00-0330", (11 * 60 + 30) * 60 * 10**6),
        ("2026-01-02 08:00:00+00", 8 * 3600 * 10**6),
        ("2026-01-02T00:00:00.5", 500_000),
        ("2026-01-02T00:00:00.000123Z", 123),
        ("2026-01-02T00:00:00.123456789Z", 123_456),
        ("2026-01-02T00:00:00,25+00:00", 250_000),
    ],
)
def test_iso_8601_is_read_with_zones_and_fractions(said: str, micros: int) -> None:
    times = time_column(pa.array(["2026-01-02T00:00:00Z", said]), where)
    assert times.moments
    assert times.values.tolist() == [JANUARY_2ND_US, JANUARY_2ND_US + micros]


def test_numbers_stay_as_they_are() -> None:
    for raw in (pa.array([5, 7]), pa.array(["5", "7"]), pa.array([5.0, 7.0])):
        times = time_column(raw, where)
        assert not times.moments
        assert times.values.tolist() == [5, 7]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (pa.array(["2026-01-01", "yesterday"]), "row 2: expected numbers or ISO 8601 times such as .*, got 'yesterday'"),
        (pa.array(["2026-01-01", "2026-13-01"]), "row 2: expected numbers or ISO 8601 .*, got '2026-13-01'"),
        (pa.array(["2026-01-01", "2026-01-01", "17"]), "row 3: expected numbers or ISO 8601 times .*, got '17'"),
        (pa.array(["17", "18", "2026-01-01"]), "row 3: expected a number or a time, got '2026-01-01'"),
        (pa.array(["2026-01-01", ""]), "row 2: expected a time in every row, got ''"),
        (pa.array([JANUARY_2ND, None], pa.timestamp("ns")), "row 2: expected a time in every row, got nothing"),
        (pa.array([1.0, np.nan]), "row 2: expected a time in every row, got nan"),
        (pa.array([[1]]), "row 1: expected a number or a time, not list"),
    ],
)
def test_a_wrong_time_is_named_by_its_own_row(raw: pa.Array, message: str) -> None:
    with pytest.raises(InvalidTrainingData, match=message):
        time_column(raw, where)


def read_off(*columns: pa.Array) -> list[list[float]]:
    """The times of several files by one clock."""
    clock, times = Clock(), [time_column(raw, where) for raw in columns]
    for number, (raw, one) in enumerate(zip(columns, times, strict=True)):
        clock.take(one, raw, lambda row, number=number: f"file {number}, row {row + 1}")
    return [clock.read_off(one).tolist() for one in times]


def test_files_may_differ_in_type_and_unit() -> None:
    seconds = JANUARY_2ND_US // 10**6
    moments = [pa.array([JANUARY_2ND], pa.timestamp("us")), pa.array([JANUARY_2ND], pa.timestamp("ns")), pa.array(["2026-01-02"])]
    numbers = [pa.array([seconds]), pa.array([seconds * 1e3]), pa.array([str(seconds * 10**6)]), pa.array([seconds * 10**9])]
    for columns in (moments, numbers, numbers + moments, moments + numbers):
        assert read_off(*columns) == [[JANUARY_2ND_US]] * len(columns)


def test_numbers_of_one_unit_and_numbers_that_are_no_times_only_order() -> None:
    assert read_off(pa.array([1_767_312_000]), pa.array([1_767_312_001])) == [[1_767_312_000], [1_767_312_001]]
    # A counter may become as large as it likes.
    assert read_off(pa.array([7, 1_767_312_000]), pa.array([1_767_312_000_000])) == [[7, 1_767_312_000], [1_767_312_000_000]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([pa.array(["2026-01-02"]), pa.array([5])], "file 1, row 1: expected a time like '2026-01-02' of the rows before, got 5"),
        (
            [pa.array([1_767_312_000, 5]), pa.array(["2026-01-02"])],
            "file 1, row 1: expected a time like 5 .*, got '2026-01-02'",
        ),
    ],
)
def test_numbers_that_are_no_times_do_not_mix_with_moments(columns: list[pa.Array], message: str) -> None:
    with pytest.raises(InvalidTrainingData, match=message):
        read_off(*columns)


def test_a_time_is_shown_as_it_is_logged() -> None:
    assert as_logged(pa.array([JANUARY_2ND], pa.timestamp("ns")), 0) == "2026-01-02 00:00:00"
    assert as_logged(pa.array(["2026-01-02T00:00:00Z"]), 0) == "2026-01-02T00:00:00Z"
    assert as_logged(pa.array([99_000]), 0) == "99000"
