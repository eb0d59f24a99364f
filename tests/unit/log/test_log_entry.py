"""A decision in its stream entry: smaller, and what it says stays what it was."""

import zlib
from dataclasses import asdict, replace

import numpy as np
import orjson
import pytest
from log_entries import decision, slot

from domain.events import CandidateLog
from features import log_entry
from features.log_entry import DEFLATED, decision_json, deflated


def read(packed: bytes) -> dict[str, object]:
    return dict(orjson.loads(decision_json({DEFLATED: packed})))


def test_a_decision_comes_back_with_candidates_as_exact_as_the_model() -> None:
    third = 1 / 3
    made = decision("d1", 5_000, slot("i1", propensity=third, ecpm_micros=third, probability={"ctr": third, "cvr": third}))
    log = replace(made.candidates, probability={"ctr": [third] * 3, "cvr": [float("nan")] * 3}, ecpm_micros=[third, 9e7, 0.0])
    got = read(deflated(replace(made, candidates=log)))
    rounded = float(str(np.float32(third)))
    expected = asdict(made)
    expected["candidates"] |= {"probability": {"ctr": [rounded] * 3, "cvr": [None] * 3}, "ecpm_micros": [rounded, 9e7, 0.0]}
    assert got == expected


def test_whatever_strings_hold_comes_back() -> None:
    made = decision("d1", 5_000, features={"country": 'é"\\\x00\u2028', "amount": 1e30}, degraded=["x" * 70_000])
    assert read(deflated(made)) == asdict(made)


def test_a_page_of_a_hundred_candidates_takes_a_third_of_its_json() -> None:
    rng = np.random.default_rng(0)
    many = CandidateLog(
        offer_id=[f"offer-{i}" for i in rng.integers(0, 10_000, 100)],
        source=rng.choice(["ann", "popular", "new"], 100).tolist(),
        probability={"ctr": rng.beta(2, 40, 100).tolist(), "cvr": rng.beta(2, 40, 100).tolist()},
        ecpm_micros=(1e8 * rng.beta(2, 40, 100)).tolist(),
        reason=rng.choice([102, 205, 500], 100).tolist(),
    )
    made = decision("d1", 5_000, slot("i1"), candidates=many)
    assert len(deflated(made)) < len(orjson.dumps(made)) / 3
    few = decision("d1", 5_000, slot("i1"), candidates=CandidateLog([], [], {"ctr": [], "cvr": []}, [], [], 0.0, {"outbid": 99}))
    assert len(deflated(few)) < len(orjson.dumps(few)) / 2


def test_entries_that_are_in_redis_can_be_read_by_the_next_version() -> None:
    """One entry as written by the first version with `z1`; if this fails, the primer changed and needs a new field name."""
    assert zlib.crc32(log_entry._PRIMER_1) == 0x6786BDA4


@pytest.mark.parametrize("entry", [{}, {b"z1": b"", b"d": b""}, {b"z1": b""}, {b"z1": b"\x00" * 9}, {b"z2": b""}])
def test_what_is_no_decision_is_a_value_error(entry: dict[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match=r"z1|entry"):
        decision_json(entry)
