"""Stream entries become typed rows; a malformed one is rejected alone, with a reason."""

from dataclasses import asdict, fields, replace

import orjson
import pyarrow as pa
import pytest
from log_entries import decision, decision_fields, event_fields, slot

from domain.events import CandidateLog, Decision, Slot
from features.log_archive import StreamId
from features.log_entry import deflated
from features.log_schema import decision_schema, event_schema
from features.market import Market, parse_market
from serving.archiver.rows import Entry, log_formats


def entry(fields: dict[bytes, bytes], seq: int = 0) -> Entry:
    return Entry(StreamId(7, seq), fields)


def test_every_field_of_a_decision_has_a_column(market: Market) -> None:
    schema = decision_schema(market)
    assert schema.names == ["stream_id", *(f.name for f in fields(Decision)), "beyond"]
    shown = schema.field("slots").type.value_type
    assert [shown[i].name for i in range(shown.num_fields)] == [f.name for f in fields(Slot)]
    candidates = schema.field("candidates").type
    assert [candidates[i].name for i in range(candidates.num_fields)] == [f.name for f in fields(CandidateLog)]


def test_a_decision_comes_back_as_it_was_logged(market: Market) -> None:
    made = decision("d1", 5_000, slot("i1"), slot("i2", "card", 1), degraded=["ranking"], moment={"seed": 7, "asked": {}})
    _, decisions = log_formats(market)
    table, rejected = decisions.table([entry(decision_fields(made), 3)])
    (row,) = table.to_pylist()
    assert not rejected
    assert (row.pop("stream_id"), row.pop("beyond")) == ("7-3", None)
    row["stage_us"] = dict(row["stage_us"])
    row["candidates"]["unlisted"] = dict(row["candidates"]["unlisted"])
    row["moment"] = orjson.loads(row["moment"])
    # amount is a float32 feature: 59.9 is stored as the nearest one, which is what the model was given.
    assert row["features"].pop("amount") == pytest.approx(59.9, rel=1e-7)
    expected = asdict(made)
    del expected["features"]["amount"]
    assert row == expected


def test_a_candidate_removed_before_ranking_is_worth_nobody_knows_what(market: Market) -> None:
    made = decision("d1", 5_000, slot("i1"))
    nan = float("nan")  # null in JSON
    unranked = replace(
        made.candidates, probability={"ctr": [0.04, nan, nan], "cvr": [0.2, nan, nan]}, ecpm_micros=[1e6, nan, nan]
    )
    _, decisions = log_formats(market)
    table, rejected = decisions.table([entry(decision_fields(replace(made, candidates=unranked)))])
    assert not rejected
    (row,) = table.to_pylist()
    assert row["candidates"]["probability"] == {"ctr": [0.04, None, None], "cvr": [0.2, None, None]}
    assert row["candidates"]["ecpm_micros"] == [1e6, None, None]


def test_numbers_of_an_event_are_typed_and_empty_ones_null(market: Market) -> None:
    events, _ = log_formats(market)
    made = event_fields(
        "conversion", "i1", "d1", 9_000, "red", charged_micros=2_000_000, value_micros=12_500_000, status="settled"
    )
    table, rejected = events.table([entry(made), entry(event_fields("dismiss", "i2", "d1", 9_001, position=""), 1)])
    assert not rejected
    assert table.schema.equals(event_schema())
    first, second = table.to_pylist()
    assert (first["charged_micros"], first["value_micros"], first["position"]) == (2_000_000, 12_500_000, 0)
    assert (second["charged_micros"], second["value_micros"], second["position"]) == (0, None, None)


GOOD = decision("d1", 5_000, slot("i1"))


def without(key: str) -> dict[str, object]:
    made = asdict(GOOD)
    del made[key]
    return made


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (without("release"), "decision: missing ['release']"),
        (asdict(GOOD) | {"features": ["DE"]}, "features: expected a table, got ['DE']"),
        (asdict(GOOD) | {"slots": {"0": "i1"}}, "slots: expected a list, got {'0': 'i1'}"),
        (asdict(GOOD) | {"stage_us": [1]}, "stage_us: expected a table, got [1]"),
        (asdict(replace(GOOD, slots=[slot("i1", price_micros="dear")])), "slots: "),
        (asdict(replace(GOOD, slots=[slot("i1", ecpm_micros=None)])), "slots.item.ecpm_micros: expected a value, got null"),
        (asdict(replace(GOOD, time_ms=2**63)), "time_ms: "),
        (asdict(replace(GOOD, total_us=None)), "total_us: expected a value, got null"),
        (asdict(replace(GOOD, stage_us={"ranking": None})), "stage_us.value: expected a value, got null"),
        (
            asdict(replace(GOOD, candidates=replace(GOOD.candidates, reason=[0]))),
            "candidates: expected lists of one length, got {'offer_id': 3, 'source': 3, 'ecpm_micros': 3, 'reason': 1, ",
        ),
        ("a string", "decision: expected a table, got 'a string'"),
    ],
)
def test_a_malformed_decision_is_rejected_and_its_neighbours_are_not(market: Market, made: object, reason: str) -> None:
    _, decisions = log_formats(market)
    good = decision_fields(GOOD)
    table, rejected = decisions.table([entry(good, 1), entry({b"d": orjson.dumps(made)}, 2), entry(good, 3)])
    assert table["stream_id"].to_pylist() == ["7-1", "7-3"]
    assert table.schema.equals(decisions.schema)
    (only,) = rejected
    assert only.entry.id == StreamId(7, 2)
    assert reason in only.reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({b"d": b"{"}, "unexpected end of data"),
        ({b"d": b"\xff\xfe"}, ""),
        ({b"z1": b"no deflate"}, "z1: Error -3 while decompressing data"),
        ({b"z1": deflated(GOOD)[:-9]}, "z1: expected one deflated decision, got a part of one"),
        ({b"z1": deflated(GOOD) * 2}, "z1: expected one deflated decision, got more"),
        ({b"x": b"1"}, "entry: expected the field z1 or d, got [\"b'x'\"]"),
        ({b"d": b"{}", b"z1": b""}, "entry: expected the field z1 or d"),
        ({}, "entry: expected the field z1 or d, got []"),
    ],
)
def test_what_is_not_a_decision_at_all_is_rejected(market: Market, fields: dict[bytes, bytes], reason: str) -> None:
    _, decisions = log_formats(market)
    table, rejected = decisions.table([entry(fields)])
    assert len(table) == 0
    assert reason in rejected[0].reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": "stare"}, "'stare' is not a valid EventType"),
        ({"status": "odd"}, "'odd' is not a valid EventStatus"),
        ({"charged_micros": "1.5"}, "charged_micros: expected a whole number, got '1.5'"),
        ({"charged_micros": 5, "day": ""}, "day: expected the budget day of a charge, got nothing"),
        ({"time_ms": ""}, "time_ms: expected a whole number, got ''"),
        ({"time_ms": 2**64}, "time_ms: "),
    ],
)
def test_a_malformed_event_is_rejected(market: Market, changes: dict[str, object], reason: str) -> None:
    events, _ = log_formats(market)
    table, rejected = events.table([entry(event_fields("click", "i1", "d1", 9_000, **changes))])
    assert len(table) == 0
    assert reason in rejected[0].reason


def under(market: Market, **changes: object) -> Market:
    """The market as another file of it says."""
    return parse_market(market.model_dump(exclude_none=True) | changes)


def test_a_decision_logged_before_the_market_had_a_feature_or_a_task_is_archived_without(market: Market) -> None:
    raw = market.model_dump(exclude_none=True)
    today = under(
        market,
        features=[
            *raw["features"],
            {"name": "taste", "source": "offer", "multiple": True},
            {"name": "age", "source": "shopper", "missing": "own"},
        ],
        tasks=[*raw["tasks"], {"name": "keep", "label": "kept", "given": "conversion"}],
        policy=raw["policy"] | {"priors": raw["policy"]["priors"] | {"keep": 0.5}},
    )
    _, decisions = log_formats(today)
    table, rejected = decisions.table([entry(decision_fields(GOOD))])
    assert not rejected
    (row,) = table.to_pylist()
    assert row["features"]["age"] is None
    (shown,) = row["slots"]
    assert (shown["features"], shown["probability"]) == (
        {"brand": "leaf", "taste": None},
        {"ctr": 0.04, "cvr": 0.2, "keep": None},
    )
    assert row["candidates"]["probability"]["keep"] is None
    assert row["beyond"] is None


def test_what_todays_market_does_not_have_is_kept_beside(market: Market) -> None:
    raw = market.model_dump(exclude_none=True)
    amount = {"name": "amount", "source": "context", "default": "none"}
    today = under(
        market,
        features=[raw["features"][0], amount, {"name": "look", "source": "offer", "default": ""}],
        tasks=raw["tasks"][:1],
        campaigns=[c for c in raw["campaigns"] if c["bid_kind"] != "cpa"],
        offers=[{k: v for k, v in o.items() if k != "features"} for o in raw["offers"] if o["campaign"] != "wine"],
    )
    _, decisions = log_formats(today)
    table, rejected = decisions.table(
        [entry({b"d": orjson.dumps(asdict(GOOD) | {"mood": "good"})}), entry(decision_fields(GOOD), 1)]
    )
    assert not rejected
    first, second = (orjson.loads(beyond) for beyond in table["beyond"].to_pylist())
    assert second == {
        "features": {"amount": 59.9, "past_clicks": 2},  # a string today, and gone
        "slots": [{"features": {"brand": "leaf"}, "probability": {"cvr": 0.2}}],
        "candidates": {"probability": {"cvr": [0.2, 0.1, 0.05]}},
    }
    assert first == {"mood": "good"} | second
    assert table["features"].to_pylist() == [{"country": "DE", "amount": None}] * 2


def test_an_event_field_nobody_knows_is_kept_beside_and_one_that_came_later_is_null(market: Market) -> None:
    events, _ = log_formats(market)
    made = event_fields("click", "i1", "d1", 9_000, tip=3)
    del made[b"value_micros"]
    table, rejected = events.table([entry(made)])
    assert not rejected
    (row,) = table.to_pylist()
    assert (row["beyond"], row["value_micros"]) == ('{"tip":"3"}', None)


def test_entries_of_before_are_read_as_json_and_list_all_candidates(market: Market) -> None:
    old = asdict(GOOD)
    del old["asked_by"], old["candidates"]["weight"], old["candidates"]["unlisted"]
    _, decisions = log_formats(market)
    table, rejected = decisions.table([entry({b"d": orjson.dumps(old)})])
    assert not rejected
    (row,) = table.to_pylist()
    assert (row["asked_by"], row["candidates"]["weight"], row["candidates"]["unlisted"]) == ("", 1.0, [])


def test_a_feature_the_log_does_not_know_yet_is_null(market: Market) -> None:
    _, decisions = log_formats(market)
    table, rejected = decisions.table([entry(decision_fields(replace(GOOD, features={"country": "NL"})))])
    assert not rejected
    assert table["features"].to_pylist() == [{"country": "NL", "amount": None, "past_clicks": None}]


def test_what_a_candidate_removed_before_ranking_was_worth_is_null(market: Market) -> None:
    _, decisions = log_formats(market)
    removed = replace(
        GOOD.candidates, ecpm_micros=[1.0, None, 3.0], probability={"ctr": [0.1, None, 0.1], "cvr": [0.1, None, 0.1]}
    )
    table, rejected = decisions.table([entry(decision_fields(replace(GOOD, candidates=removed)))])
    assert not rejected
    assert table["candidates"].to_pylist()[0]["ecpm_micros"] == [1.0, None, 3.0]


def test_no_entries_make_an_empty_table(market: Market) -> None:
    for log in log_formats(market):
        table, rejected = log.table([])
        assert (len(table), rejected) == (0, [])
        assert isinstance(table, pa.Table)
