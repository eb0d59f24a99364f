"""The figures of the page from known entries; expected numbers are derived beside them."""

import tomllib

import numpy as np
import orjson
import pytest
from log_entries import MARKET_TOML, decision, decision_fields, event_fields, slot

from domain.outcome import Reason
from features.market import Market, parse_market
from monitoring.dashboard import board as limits
from monitoring.dashboard.board import Board
from monitoring.dashboard.reasons import MEANING
from monitoring.dashboard.state import State, rest_s
from monitoring.dashboard.summary import percentile, summarise, wilson

T = 1_700_000_000_000  # a multiple of 5 s


@pytest.fixture(scope="module")
def market() -> Market:
    return parse_market(tomllib.loads(MARKET_TOML))


@pytest.fixture
def board() -> Board:
    return Board(bucket_s=5, window_s=300)


def decide(board: Board, at_ms: int, name: str, *slots: object, **changes: object) -> None:
    board.add_decision(at_ms, decision_fields(decision(name, at_ms, *slots, **changes)))  # type: ignore[arg-type]


def happen(board: Board, at_ms: int, kind: str, name: str, charged: int = 0) -> None:
    board.add_event(at_ms, event_fields(kind, f"i-{name}", name, at_ms, charged_micros=charged))


def test_a_known_log_gives_these_figures(market: Market, board: Board) -> None:
    for i in range(10):  # bucket 0: ten decisions of 1..10 ms, two of them empty, one degraded
        slots = () if i < 2 else (slot(f"i-d{i}"),)
        decide(board, T + i, f"d{i}", *slots, total_us=(i + 1) * 1000, degraded=["ranking"] if i == 0 else [], explored=i < 5)
    for i in range(2, 10):
        happen(board, T + 4_999, "impression", f"d{i}")
    happen(board, T + 5_000, "click", "d2", 300_000)  # bucket 1
    happen(board, T + 5_001, "click", "d3", 200_001)
    decide(board, T + 12_000, "e0", slot("i-e0"), release="1700000010", total_us=50_000)  # bucket 2
    happen(board, T + 12_001, "impression", "e0")
    happen(board, T + 12_500, "conversion", "d2")
    board.attribute(T + 12_500)
    figures = summarise(market, board, None, T + 15_500)  # bucket 3 is open

    total = figures["total"]
    assert (total["decisions"], total["filled"], total["shown"], total["degraded"], total["explored"]) == (11, 9, 9, 1, 5)
    assert (total["impressions"], total["clicks"], total["conversions"], total["charged_micros"]) == (9, 2, 1, 500_001)
    assert total["ctr"] == 2 / 9
    assert total["cvr"] == 1 / 2
    assert total["fill_rate"] == 9 / 11
    assert total["revenue_per_1000_micros"] == 500_001_000 / 11

    series = figures["series"]
    assert series["at_ms"] == [T + 5_000, T + 10_000, T + 15_000]
    assert series["decisions_per_s"] == [2.0, 0.0, 0.2]
    # Nearest rank of 1..10 ms: the 5th is p50; p95 and p99 are the 10th.
    assert (series["p50_ms"], series["p95_ms"], series["p99_ms"]) == ([5.0, None, 50.0], [10.0, None, 50.0], [10.0, None, 50.0])
    # Ratios trail over 60 s, here everything so far: 0/8, then 2/8, then 2/9.
    assert series["ctr"] == [0.0, 2 / 8, 2 / 9]
    assert series["revenue_per_1000_micros"] == [0.0, 50_000_100.0, 500_001_000 / 11]
    assert series["fill_rate"] == [0.8, 0.8, 9 / 11]
    assert series["degraded_share"] == [0.1, 0.1, 1 / 11]

    recent = figures["recent"]
    assert (recent["seconds"], recent["decisions"], recent["decisions_per_s"]) == (15.0, 11, 11 / 15)
    # 11 values, 1..10 and 50: the 6th is p50, the 11th is p95 and p99.
    assert (recent["p50_ms"], recent["p95_ms"], recent["p99_ms"]) == (6.0, 50.0, 50.0)

    cold, trained = figures["releases"]
    assert (cold["release"], cold["first_ms"], cold["decisions"], cold["clicks"], cold["conversions"]) == (
        "cold-start",
        T,
        10,
        2,
        1,
    )
    assert (cold["ctr"], cold["charged_micros"]) == (2 / 8, 500_001)
    assert (trained["release"], trained["first_ms"], trained["impressions"], trained["ctr"]) == ("1700000010", T + 12_000, 1, 0.0)
    assert figures["degraded_by"] == {"ranking": 1}
    assert figures["since_ms"] == T


def test_stage_shares_add_up_and_the_rest_is_other(market: Market, board: Board) -> None:
    # Each: 900 + 2600 + 500 of 5000 us are claimed.
    decide(board, T, "a")
    decide(board, T + 1, "b")
    stages = summarise(market, board, None, T + 5_000)["stages"]
    assert [(s["stage"], s["mean_ms"], s["share"]) for s in stages] == [
        ("shopper", 0.9, 0.18),
        ("ranking", 2.6, 0.52),
        ("auction", 0.5, 0.1),
        ("other", 1.0, 0.2),
    ]


def test_an_empty_board_has_figures_without_values(market: Market, board: Board) -> None:
    figures = summarise(market, board, None, T)
    assert (figures["total"]["decisions"], figures["total"]["ctr"], figures["recent"]["p95_ms"]) == (0, None, None)
    assert (figures["series"]["at_ms"], figures["releases"], figures["stages"], figures["since_ms"]) == ([], [], [], None)


def test_the_bucket_that_is_still_filling_is_left_out(market: Market, board: Board) -> None:
    decide(board, T, "a")
    decide(board, T + 5_000, "b")
    figures = summarise(market, board, None, T + 5_001)
    assert (figures["series"]["decisions_per_s"], figures["recent"]["decisions"], figures["total"]["decisions"]) == ([0.2], 1, 2)


def test_invalid_traffic_is_shown_by_reason_and_counts_nowhere_else(market: Market, board: Board) -> None:
    decide(board, T, "d1", slot("i-d1"))
    decide(board, T, "d2", slot("i-d2"), invalid="robot", degraded=["ranking"])
    happen(board, T + 1, "impression", "d1")
    for kind, reason in (("click", "too_fast"), ("click", "robot"), ("impression", "robot")):
        board.add_event(T + 2, event_fields(kind, "i-d1", "d1", T, status="invalid", reason=reason))
    board.attribute(T + 2)
    figures = summarise(market, board, None, T + 5_000)
    assert figures["invalid"] == {"robot": 3, "too_fast": 1}
    for counted in (figures["total"], figures["recent"], figures["releases"][0]):
        assert (counted["decisions"], counted["impressions"], counted["clicks"], counted["degraded"]) == (1, 1, 0, 0)
    assert [orjson.loads(raw)["decision_id"] for raw in board.recent] == ["d2", "d1"]


def test_a_quiet_hour_costs_no_more_than_the_window(market: Market, board: Board) -> None:
    decide(board, T, "a")
    series = summarise(market, board, None, T + 10 * 3_600_000)["series"]
    assert len(series["at_ms"]) == 300 // 5


def test_old_buckets_go_and_totals_stay(market: Market, board: Board) -> None:
    for second in range(0, 900, 5):
        decide(board, T + second * 1000, f"d{second}")
    assert len(board.buckets) == 300 // 5
    decide(board, T, "late")  # logged long before the window: counted, not drawn
    figures = summarise(market, board, None, T + 900_000)
    assert (figures["total"]["decisions"], figures["series"]["decisions_per_s"]) == (181, [0.2] * 60)


def test_an_event_may_overtake_its_decision_but_not_for_ever(market: Market, board: Board) -> None:
    happen(board, T, "impression", "a")
    happen(board, T, "impression", "lost")
    board.attribute(T)
    decide(board, T + 20, "a", slot("i-a"))
    board.attribute(T + 20)
    assert (board.releases["cold-start"].tally.impressions, board.unattributed) == (1, 0)
    board.attribute(T + limits.PATIENCE_MS + 1)
    assert (board.total.impressions, board.unattributed) == (2, 1)


@pytest.mark.parametrize(
    ("fields", "add"),
    [
        ({b"d": b"{"}, "decision"),
        ({b"d": b"[]"}, "decision"),
        ({b"d": b'{"release":"x"}'}, "decision"),
        ({}, "decision"),
        ({}, "event"),
        ({b"type": b"stare", b"status": b"logged", b"charged_micros": b"0", b"decision_id": b"d"}, "event"),
        ({b"type": b"click", b"status": b"logged", b"charged_micros": b"much", b"decision_id": b"d"}, "event"),
        # The page answers in JSON, and stages have shares of a whole.
        ({b"type": b"click", b"status": b"logged", b"charged_micros": b"1" + b"0" * 30, b"decision_id": b"d"}, "event"),
        (decision_fields(decision("d", T, total_us=2**63)), "decision"),
        (decision_fields(decision("d", T, total_us=-1)), "decision"),
        (decision_fields(decision("d", T, stage_us={"ranking": -5_000})), "decision"),
    ],
)
def test_an_unreadable_entry_is_counted_and_changes_nothing(board: Board, fields: dict[bytes, bytes], add: str) -> None:
    (board.add_decision if add == "decision" else board.add_event)(T, fields)
    assert (board.unreadable, board.total, board.recent) == (1, limits.Tally(), limits.deque())


def test_memory_is_bounded(board: Board) -> None:
    for i in range(limits.SAMPLES * 2):
        decide(board, T, f"d{i}", release=f"r{i % 40}", total_us=i)
    (bucket,) = board.buckets.values()
    assert (len(bucket.total_us), len(board.recent), len(board.releases)) == (limits.SAMPLES, limits.SHOWN, limits.MAX_RELEASES)
    # A uniform sample of 0..3999 us: its median is within 4 standard errors, 4 * 4000 * sqrt(1 / (4 * 2000)).
    assert abs(np.median(bucket.total_us) - 2_000) < 4 * 4_000 * (1 / 8_000) ** 0.5


def test_when_a_release_was_first_served_comes_from_the_gateway(market: Market, board: Board) -> None:
    decide(board, T + 900, "a", release="17")
    state = State(T, 0.5, first_served_ms={"17": T + 100})
    assert summarise(market, board, state, T + 1_000)["releases"][0]["first_ms"] == T + 100


def test_percentiles_are_nearest_ranks() -> None:
    us = np.array([1_000, 2_000, 3_000, 4_000])
    assert [percentile(us, p) for p in (25, 26, 50, 75, 100)] == [1.0, 2.0, 2.0, 3.0, 4.0]


def test_wilson_interval() -> None:
    # 10 of 100: centre (0.1 + 3.8416 / 200) / 1.038416 = 0.1147979,
    # half 1.96 sqrt(0.0009 + 3.8416 / 40000) / 1.038416 = 0.0595694.
    low, high = wilson(10, 100) or (None, None)
    assert low == pytest.approx(0.05522854, abs=1e-6)
    assert high == pytest.approx(0.17436730, abs=1e-6)
    assert (wilson(0, 10) or [None])[0] == 0.0
    assert (wilson(10, 10) or [None, None])[1] == 1.0


@pytest.mark.parametrize(("successes", "n"), [(2, 1), (1, 0), (0, 0), (-1, 10)])
def test_what_is_no_proportion_has_no_interval(successes: int, n: int) -> None:
    assert wilson(successes, n) is None


def test_a_release_may_have_more_clicks_than_impressions(market: Market, board: Board) -> None:
    for i, kind in enumerate(["impression", "click", "click", "conversion", "conversion", "conversion"]):
        decide(board, T, f"d{i}", slot(f"i-d{i}"))
        happen(board, T, kind, f"d{i}", charged=-1_000_000)  # money went back
    board.attribute(T)
    figures = summarise(market, board, None, T + 5_000)
    (release,) = figures["releases"]
    assert (release["ctr"], release["ctr_low"], release["ctr_high"], release["cvr"]) == (2.0, None, None, 1.5)
    assert release["revenue_per_1000_micros"] == -1_000_000_000
    orjson.dumps(figures)


def test_every_reason_has_words() -> None:
    assert set(MEANING) == set(Reason)


@pytest.mark.parametrize(("cpu_s", "share"), [(0.001, 0.001), (0.04, 0.02), (0.2, 0.02), (5.0, 0.02)])
def test_readings_of_many_campaigns_come_less_often(cpu_s: float, share: float) -> None:
    assert cpu_s / (cpu_s + rest_s(cpu_s)) <= share
