from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from domain.errors import InvalidTrainingData
from features.training_spec import SplitSpec
from pipelines.keys import key_column
from pipelines.splits import EVAL, TRAIN, VALID, RandomSplit, hash_split, time_cuts, time_split

RANDOM = SplitSpec(valid_fraction=0.1, eval_fraction=0.3)
HASH = SplitSpec(kind="hash", by="shopper", valid_fraction=0.1, eval_fraction=0.3)
TIME = SplitSpec(kind="time", by="time_ms", valid_fraction=0.1, eval_fraction=0.3)


def shares(codes: np.ndarray) -> list[float]:
    return [float(np.mean(codes == c)) for c in (TRAIN, VALID, EVAL)]


def test_random_shares_are_as_asked() -> None:
    assert shares(RandomSplit(RANDOM, seed=1).assign(100_000)) == pytest.approx([0.6, 0.1, 0.3], abs=0.01)


def test_random_is_the_same_however_rows_are_batched() -> None:
    whole, parts = RandomSplit(RANDOM, seed=1), RandomSplit(RANDOM, seed=1)
    assert np.array_equal(whole.assign(100), np.concatenate([parts.assign(7), parts.assign(93)]))


def test_another_seed_gives_another_split() -> None:
    assert not np.array_equal(RandomSplit(RANDOM, seed=1).assign(100), RandomSplit(RANDOM, seed=2).assign(100))


def test_equal_keys_stay_together() -> None:
    codes = hash_split(pa.array([f"s{i % 500}" for i in range(5000)]), HASH, seed=1)
    assert np.array_equal(codes[:500], codes[500:1000])
    assert shares(hash_split(pa.array(range(20_000)), HASH, seed=1)) == pytest.approx([0.6, 0.1, 0.3], abs=0.02)


def test_hash_depends_on_the_key_alone() -> None:
    a, b = hash_split(pa.array(["x", "y"]), HASH, seed=1), hash_split(pa.array(["y", "z", "x"]), HASH, seed=1)
    assert (a[0], a[1]) == (b[2], b[0])


def where(row: int) -> str:
    return f"row {row + 1}"


@pytest.mark.parametrize(
    "raw",
    [
        pa.array([float(i) for i in range(200)]),
        pa.array([float(i) for i in range(200)], pa.float32()),
        pa.array(range(200), pa.uint8()),
        pa.array([Decimal(i) for i in range(200)], pa.decimal128(38, 2)),
        pa.array([str(i) for i in range(200)]),
        pa.array([f"{i}.0" for i in range(200)]),
        pa.array([f"{i:03}" for i in range(200)]),
        pa.array([str(i) for i in range(200)]).dictionary_encode(),
        pa.array([str(i).encode() for i in range(200)]),
    ],
    ids=lambda raw: str(raw.type),
)
def test_a_key_is_the_same_in_every_type(raw: pa.Array) -> None:
    expected = hash_split(pa.array(range(200), pa.int64()), HASH, seed=1)
    assert np.array_equal(hash_split(key_column(raw, where), HASH, seed=1), expected)


@pytest.mark.parametrize(
    "raw", [pa.nulls(1000), pa.array([""] * 1000), pa.array([None] * 1000, pa.int64()), pa.array([np.nan] * 1000)]
)
def test_rows_without_a_key_are_each_by_themselves(raw: pa.Array) -> None:
    codes = hash_split(key_column(raw, where), HASH, seed=1)
    assert shares(codes) == pytest.approx([0.6, 0.1, 0.3], abs=0.05)
    again = [hash_split(key_column(raw[a:b], where), HASH, seed=1, before=a) for a, b in ((0, 7), (7, 1000))]
    assert np.array_equal(np.concatenate(again), codes)


def test_keys_may_be_any_bytes() -> None:
    keys = [bytes([255, i]) for i in range(200)]
    fixed = hash_split(key_column(pa.array(keys, pa.binary(2)), where), HASH, seed=1)
    assert np.array_equal(hash_split(key_column(pa.array([*keys, b"text"]), where), HASH, seed=1)[:200], fixed)
    assert shares(fixed) == pytest.approx([0.6, 0.1, 0.3], abs=0.1)
    beside = hash_split(key_column(pa.array([b"text", b"\xff"]), where), HASH, seed=1)
    assert beside[0] == hash_split(pa.array(["text"]), HASH, seed=1)[0]


@pytest.mark.parametrize(
    "raw",
    [
        pa.array([2**55, None], pa.timestamp("s")),
        pa.array([1, None], pa.duration("s")),
        pa.array([1, None], pa.time32("s")),
        pa.array([0, None], pa.date64()),
    ],
    ids=lambda raw: str(raw.type),
)
def test_keys_may_be_times_that_no_calendar_has(raw: pa.Array) -> None:
    assert len(hash_split(key_column(raw, where), HASH, seed=1)) == 2


def test_keys_that_a_float_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(InvalidTrainingData, match="row 2: expected a key that double holds exactly"):
        key_column(pa.array([5.0, 2.0**53 + 2]), where)
    for kind in (pa.list_(pa.string()), pa.list_(pa.string(), 1), pa.large_list(pa.string())):
        with pytest.raises(InvalidTrainingData, match=r"row 1: expected one key per row, not .*list"):
            key_column(pa.array([["a"]], kind), where)


def test_the_latest_rows_report() -> None:
    times = np.arange(10, dtype=float)
    cuts = time_cuts(times, TIME)
    # Ranks 0 to 9: the 0.6 quantile is 5.4, so 6 begins valid; the 0.7 quantile is 6.3, so 7 begins eval.
    assert cuts == (6, 7)
    assert time_split(times, cuts).tolist() == [TRAIN] * 6 + [VALID] + [EVAL] * 3


def test_rows_of_one_time_stay_together() -> None:
    times = np.repeat([1.0, 2.0, 3.0, 4.0], 25)
    codes = time_split(times, time_cuts(times, TIME)).reshape(4, 25)
    assert all(len(set(same)) == 1 for same in codes.tolist())


def test_random_rows_before_the_latest_calibrate() -> None:
    spec = SplitSpec(kind="time", by="time_ms", valid="random", valid_fraction=0.14, eval_fraction=0.3)
    late = np.arange(100_000) >= 70_000
    codes = RandomSplit(spec, seed=1).assign_before(late)
    assert shares(codes) == pytest.approx([0.56, 0.14, 0.3], abs=0.005)
    assert np.array_equal(codes == EVAL, late)
    assert np.mean(codes[60_000:70_000] == VALID) == pytest.approx(0.2, abs=0.02)


def test_random_rows_calibrate_in_a_split_by_time_only() -> None:
    with pytest.raises(ValueError, match="belongs to kind time"):
        SplitSpec(valid="random")
