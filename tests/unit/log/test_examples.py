"""The join of the logs: one row per rendered impression, labels within their windows."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from growing_archive import GrowingArchive
from log_entries import decision, event_fields, slot

from domain.errors import InvalidTrainingData
from domain.events import Decision
from features.log_archive import parts
from features.market import Market, parse_market
from models.release import FinalLabels, LeftOut, Origin
from pipelines.examples import JoinReport, join_log, learnable_rows, training_rows, write_training_rows

Archive = Callable[[Iterable[Decision], Iterable[dict[bytes, bytes]]], Path]
LATER_MS = 10_000_000
CLICK_WINDOW_MS, CONVERSION_WINDOW_MS = 100_000, 1_000_000  # of the corner market


def labels(rows: pa.Table) -> dict[str, tuple[int, int]]:
    return {r["impression_id"]: (r["click"], r["conversion"]) for r in rows.to_pylist()}


def test_a_row_holds_the_features_as_used_and_how_the_offer_was_chosen(market: Market, archive: Archive) -> None:
    made = decision("d1", 5_000, slot("i1"), slot("i2", "card", 1, propensity=0.25))
    log_dir = archive([made], [event_fields("impression", i, "d1", 5_100) for i in ("i1", "i2")])
    rows = training_rows(market, log_dir, LATER_MS)
    assert rows.schema.equals(
        pa.schema(
            {
                "country": pa.string(),
                "amount": pa.float32(),
                "past_clicks": pa.int64(),
                "brand": pa.string(),
                "decision_id": pa.string(),
                "impression_id": pa.string(),
                "shopper_key": pa.string(),
                "time_ms": pa.int64(),
                "position": pa.int32(),
                "placement": pa.string(),
                "propensity": pa.float64(),
                "explored": pa.int64(),
                "click": pa.int64(),
                "conversion": pa.int64(),
                "click_matured": pa.int64(),
                "conversion_matured": pa.int64(),
                "conversion_value_micros": pa.int64(),
                "elapsed_ms": pa.int64(),
            }
        )
    )
    first, second = rows.to_pylist()
    assert first | {"amount": 59.9} == {
        **{"country": "DE", "amount": 59.9, "past_clicks": 2, "brand": "leaf", "decision_id": "d1", "impression_id": "i1"},
        **{"shopper_key": "shopper-of-d1", "time_ms": 5_000, "position": 0, "placement": "main", "propensity": 0.9},
        **{"explored": 0, "click": 0, "conversion": 0},
        **{"click_matured": 1, "conversion_matured": 1, "conversion_value_micros": None, "elapsed_ms": LATER_MS - 5_100},
    }
    assert (second["brand"], second["position"], second["propensity"]) == ("shop", 1, 0.25)


def test_only_slots_whose_impression_was_reported_count(market: Market, archive: Archive) -> None:
    log_dir = archive(
        [
            decision("d1", 5_000, slot("seen"), slot("unseen", "card", 1)),
            decision("d2", 6_000, slot("clicked")),
            decision("d3", 7_000),
        ],
        [event_fields("impression", "seen", "d1", 5_100), event_fields("click", "clicked", "d2", 6_500)],
    )
    rows, report = join_log(market, log_dir, LATER_MS)
    assert labels(rows) == {"seen": (0, 0)}
    assert (report.rows, report.clicks, report.not_rendered, report.orphan_events) == (1, 0, 2, 0)
    assert (report.clicked, report.clicks_without_impression) == (1, 1)
    assert report.newest_ms == 5_000


def test_where_pages_report_no_impressions_all_that_was_sold_was_seen(market: Market, archive: Archive) -> None:
    unreported = market.model_copy(update={"policy": market.policy.model_copy(update={"impressions": "unreported"})})
    log_dir = archive(
        [decision("d1", 5_000, slot("clicked"), slot("not", "card", 1)), decision("d2", 6_000, slot("clawed"))],
        [
            *(event_fields("click", "clicked", "d1", 6_500), event_fields("click", "clawed", "d2", 6_500)),
            event_fields("adjustment", "clawed", "d2", 7_000, status="returned", charged_micros=-9),
        ],
    )
    rows, report = join_log(unreported, log_dir, LATER_MS)
    assert labels(rows) == {"clicked": (1, 0), "not": (0, 0)}
    assert rows["elapsed_ms"].to_pylist() == [LATER_MS - 5_000] * 2
    assert (report.clicked, report.clicks_without_impression) == (1, 0)


def test_labels_hold_within_their_windows_to_the_millisecond(market: Market, archive: Archive) -> None:
    shown = 10_000
    in_time, late = shown + CLICK_WINDOW_MS, shown + CLICK_WINDOW_MS + 1
    events = [event_fields("impression", i, "d1", shown) for i in "abcd"]
    events += [event_fields("click", "a", "d1", in_time), event_fields("click", "b", "d1", late)]
    events += [event_fields("conversion", "a", "d1", in_time + CONVERSION_WINDOW_MS)]
    # b converts, but its click came too late to count; c converts too late after its click; d converts without a click.
    events += [event_fields("conversion", "b", "d1", late + 1)]
    events += [event_fields("click", "c", "d1", shown), event_fields("conversion", "c", "d1", shown + CONVERSION_WINDOW_MS + 1)]
    events += [event_fields("conversion", "d", "d1", shown + 5)]
    log_dir = archive([decision("d1", shown, *(slot(i, position=p) for p, i in enumerate("abcd")))], events)
    rows, report = join_log(market, log_dir, LATER_MS)
    assert labels(rows) == {"a": (1, 1), "b": (0, 0), "c": (1, 0), "d": (0, 0)}
    assert (report.clicks, report.conversions) == (2, 1)


def test_repeated_events_and_decisions_make_no_second_row(market: Market, archive: Archive) -> None:
    twice = decision("d1", 5_000, slot("i1"), slot("i2", position=1))
    events = [event_fields("impression", "i1", "d1", 5_100), event_fields("impression", "i2", "d1", 5_100)]
    clicks = [event_fields("click", "i1", "d1", t) for t in (5_300, 5_200, 5_300)]
    rows, report = join_log(market, archive([twice, twice], events + events + clicks + clicks), LATER_MS)
    assert rows["impression_id"].to_pylist() == ["i1", "i2"]
    assert labels(rows) == {"i1": (1, 0), "i2": (0, 0)}
    assert (report.rows, report.clicks) == (2, 1)


def test_the_join_is_as_of_now(market: Market, archive: Archive) -> None:
    log_dir = archive(
        [decision("d1", 5_000, slot("i1")), decision("d2", 9_000, slot("i2"))],
        [
            *(event_fields("impression", "i1", "d1", 5_000), event_fields("click", "i1", "d1", 8_001)),
            event_fields("impression", "i2", "d2", 9_000),
        ],
    )
    rows, report = join_log(market, log_dir, now_ms=8_000)
    assert labels(rows) == {"i1": (0, 0)}
    assert report.open_windows == 1
    # A click window of 100 s after 5.000 s ends at 105.000 s.
    assert join_log(market, log_dir, now_ms=105_000)[1].open_windows == 1  # i2's
    assert labels(join_log(market, log_dir, now_ms=8_001)[0]) == {"i1": (1, 0)}
    assert labels(join_log(market, log_dir, LATER_MS, since_ms=5_001)[0]) == {"i2": (0, 0)}


def test_a_label_has_matured_once_its_windows_have_passed_whatever_it_is(market: Market, archive: Archive) -> None:
    shown = 10_000
    events = [event_fields("impression", i, "d1", shown) for i in "ab"]
    events += [event_fields("click", "a", "d1", shown + 1), event_fields("conversion", "a", "d1", shown + 2)]
    log_dir = archive([decision("d1", shown, slot("a"), slot("b", position=1))], events)
    click_closes = shown + CLICK_WINDOW_MS
    for now_ms, matured in (
        (click_closes - 1, (0, 0)),
        (click_closes, (1, 0)),
        (click_closes + CONVERSION_WINDOW_MS - 1, (1, 0)),
        (click_closes + CONVERSION_WINDOW_MS, (1, 1)),
    ):
        rows = training_rows(market, log_dir, now_ms).to_pylist()
        assert [(r["click_matured"], r["conversion_matured"]) for r in rows] == [matured, matured]
        assert [r["elapsed_ms"] for r in rows] == [now_ms - shown] * 2
        assert [(r["click"], r["conversion"]) for r in rows] == [(1, 1), (0, 0)]


def test_events_without_a_decision_are_counted_as_orphans(market: Market, archive: Archive) -> None:
    log_dir = archive(
        [decision("d1", 5_000, slot("i1"))],
        [event_fields(kind, i, "d", 5_100) for i in ("i1", "lost") for kind in ("impression", "click", "dismiss")],
    )
    assert join_log(market, log_dir, LATER_MS)[1].orphan_events == 2


def test_a_feature_the_log_lacks_takes_its_default(market: Market, archive: Archive) -> None:
    made = decision("d1", 5_000, slot("i1", features={}), features={"country": "FR"})
    (row,) = training_rows(market, archive([made], [event_fields("impression", "i1", "d1", 5_000)]), LATER_MS).to_pylist()
    assert (row["country"], row["amount"], row["past_clicks"], row["brand"]) == ("FR", 1.5, 0, "house")


def test_labels_may_have_names_of_their_own(market: Market, archive: Archive) -> None:
    raw = market.model_dump(exclude_none=True)
    raw["tasks"] = [{"name": "ctr", "label": "accepted"}, {"name": "cvr", "label": "bought", "given": "accepted"}]
    events = [event_fields(kind, "i1", "d1", 5_000) for kind in ("impression", "click", "conversion")]
    log_dir = archive([decision("d1", 5_000, slot("i1"))], events)
    (row,) = training_rows(parse_market(raw), log_dir, LATER_MS).to_pylist()
    assert (row["accepted"], row["bought"]) == (1, 1)


NOW_MS = 2_000_000_000


@pytest.fixture
def growing(market: Market, tmp_path: Path) -> GrowingArchive:
    return GrowingArchive(market, tmp_path / "log")


@pytest.fixture
def aging(growing: GrowingArchive) -> GrowingArchive:
    """Shown 1,200 s, 500 s and 50 s ago; the first two are clicked at once, and convert 900 s later."""
    for name, age_ms in (("old", 1_200_000), ("mid", 500_000), ("new", 50_000)):
        at = NOW_MS - age_ms
        growing.shows(name, at, *((None, None) if name == "new" else (at, at + 900_000)))
    return growing


def usable(rows: pa.Table) -> dict[str, tuple[int, int]]:
    return {r["impression_id"]: (r["click_usable"], r["conversion_usable"]) for r in rows.to_pylist()}


def learned(report: JoinReport) -> Origin:
    """What a release made of the rows says it has learned from."""
    return Origin(rows={}, trained_through_ms=report.newest_ms, labels=report.labels)


def test_a_full_training_counts_the_labels_that_have_matured(market: Market, aging: GrowingArchive) -> None:
    rows, report = learnable_rows(market, aging.until(NOW_MS), NOW_MS)
    # Clicks are final after 100 s, conversions after 1,100 s; a row that counts for nothing is left out.
    assert usable(rows) == {"old": (1, 1), "mid": (1, 0)}
    assert labels(rows) == {"old": (1, 1), "mid": (1, 0)}
    assert (report.rows, report.clicks, report.conversions) == (2, 2, 1)
    assert report.newest_ms == NOW_MS - 500_000
    assert report.labels == FinalLabels(as_of_ms=NOW_MS, click_window_s=100, conversion_window_s=1000)


def test_a_late_conversion_is_learned_once_its_window_has_closed(market: Market, aging: GrowingArchive) -> None:
    first = learnable_rows(market, aging.until(NOW_MS), NOW_MS)[1]
    # 600 s later `mid` has matured, with the conversion that came in between, and so has the click of `new`.
    later_ms = NOW_MS + 600_000
    rows, second = learnable_rows(market, aging.until(later_ms), later_ms, learned(first))
    assert usable(rows) == {"mid": (0, 1), "new": (1, 0)}
    assert labels(rows)["mid"] == (1, 1)
    assert (second.rows, second.clicks, second.conversions) == (2, 0, 1)
    with pytest.raises(InvalidTrainingData, match="entries that were archived since the last training, got 'none'"):
        learnable_rows(market, aging.log_dir, later_ms + 1, learned(second))
    with pytest.raises(InvalidTrainingData, match="labels that have become final since the last training, got 'none in"):
        learnable_rows(market, aging.until(later_ms + 1), later_ms + 1, learned(second))


def test_a_chain_of_trainings_learns_every_label_once_and_as_it_is_in_the_end(market: Market, growing: GrowingArchive) -> None:
    rng = np.random.default_rng(3)
    for i, at in enumerate(np.sort(rng.integers(NOW_MS - 4_000_000, NOW_MS, 300)).tolist()):
        click = at + int(rng.integers(0, 150_000)) if rng.random() < 0.5 else None
        converts = click is not None and rng.random() < 0.5
        growing.shows(f"i{i}", at, click, click + int(rng.integers(0, 1_500_000)) if click and converts else None)
    counted: dict[str, list[tuple[str, int]]] = {"click": [], "conversion": []}
    previous = None
    for now_ms in (NOW_MS - 2_000_000, NOW_MS - 1_300_000, NOW_MS - 1_234_567, NOW_MS, NOW_MS + 1_000_000):
        rows, report = learnable_rows(market, growing.until(now_ms), now_ms, previous)
        previous = learned(report)
        for label, seen in counted.items():
            seen += [(r["impression_id"], r[label]) for r in rows.to_pylist() if r[f"{label}_usable"]]
    whole = learnable_rows(market, growing.log_dir, NOW_MS + 1_000_000)[0].to_pylist()
    for label, seen in counted.items():
        assert sorted(seen) == sorted((r["impression_id"], r[label]) for r in whole if r[f"{label}_usable"])
        assert 0 < sum(value for _, value in seen) < len(seen)


def test_what_a_release_has_learned_and_what_is_new_to_it_are_all_there_is(market: Market, aging: GrowingArchive) -> None:
    """Each label is in one of the two, and as it is in the end; the row of `mid` is in both."""
    first = learnable_rows(market, aging.until(NOW_MS), NOW_MS)[1]
    later_ms = NOW_MS + 600_000
    aging.until(later_ms)
    old, report = learnable_rows(market, aging.log_dir, later_ms, through=learned(first))
    new, _ = learnable_rows(market, aging.log_dir, later_ms, learned(first))
    assert usable(old) == {"old": (1, 1), "mid": (1, 0)}
    assert usable(new) == {"mid": (0, 1), "new": (1, 0)}
    assert report.labels == first.labels


def test_a_label_that_waits_is_new_until_it_is_learned(market: Market, aging: GrowingArchive) -> None:
    """There were too few conversions to judge by when the clicks were learned 600 s later, and the next time there are enough."""
    first = learnable_rows(market, aging.until(NOW_MS), NOW_MS)[1]
    second = learnable_rows(market, aging.until(NOW_MS + 600_000), NOW_MS + 600_000, learned(first))[1]
    assert second.labels is not None
    waiting = second.labels.model_copy(update={"waiting": {"conversion": NOW_MS}})
    made = learned(second).model_copy(update={"labels": waiting})
    third_ms = NOW_MS + 1_200_000
    aging.until(third_ms)
    # `mid` is not clicked again; `new`, shown 50 s before the first, has its conversion final 1,100 s after that.
    assert usable(learnable_rows(market, aging.log_dir, third_ms, made)[0]) == {"mid": (0, 1), "new": (0, 1)}
    old = learnable_rows(market, aging.log_dir, third_ms, through=made)[0]
    assert usable(old) == {"old": (1, 1), "mid": (1, 0), "new": (1, 0)}


def test_what_nobody_believes_is_never_learned(market: Market, aging: GrowingArchive) -> None:
    first = learnable_rows(market, aging.until(NOW_MS), NOW_MS)[1]
    doubted = LeftOut(label="conversion", from_ms=NOW_MS - 600_000, until_ms=NOW_MS - 400_000, why="none at all")
    made = learned(first).model_copy(update={"left_out": (doubted,)})
    later_ms = NOW_MS + 2_000_000
    aging.until(later_ms)
    assert usable(learnable_rows(market, aging.log_dir, later_ms, made)[0]) == {"new": (1, 1)}
    beyond = made.model_copy(update={"labels": FinalLabels.of(market, later_ms)})
    assert usable(learnable_rows(market, aging.log_dir, later_ms, through=beyond)[0])["mid"] == (1, 0)


def test_with_importance_weights_a_click_enters_at_once_and_again_when_it_converts(market: Market, aging: GrowingArchive) -> None:
    weighted = market.model_copy(update={"training": market.training.model_copy(update={"delayed_labels": "importance"})})
    rows, first = learnable_rows(weighted, aging.until(NOW_MS), NOW_MS)
    # In full: final labels, and how long the conversion of `old` took, for the delay model.
    assert {r["impression_id"]: r["conversion_delay_ms"] for r in rows.to_pylist()} == {"old": 900_000, "mid": -1}
    assert usable(rows) == {"old": (1, 1), "mid": (1, 0)}
    assert "conversion_entry_ms" not in rows.column_names
    # In the next 450 s `now` is clicked, after 60 s, and `mid` converts, clicked 500 s before: 50 s into an hour of 450 s.
    aging.shows("now", NOW_MS + 50_000, NOW_MS + 60_000)
    later_ms = NOW_MS + 450_000
    rows, second = learnable_rows(weighted, aging.until(later_ms), later_ms, learned(first))
    entries = {r["impression_id"]: (r["conversion"], r["conversion_entry_ms"]) for r in rows.to_pylist()}
    assert entries == {"mid": (1, 50_000), "new": (0, -1), "now": (0, 390_000)}
    assert usable(rows) == {"mid": (0, 0), "new": (1, 0), "now": (1, 0)}
    assert (second.rows, second.clicks, second.conversions) == (3, 1, 1)
    assert second.labels == FinalLabels(as_of_ms=later_ms, click_window_s=100, conversion_window_s=1000, importance=True)


def test_the_archives_end_is_now_since_a_click_may_stand_beyond_it(market: Market, aging: GrowingArchive) -> None:
    log_dir = aging.until(NOW_MS)
    rows, report = learnable_rows(market, log_dir, NOW_MS + 1_000_000)
    assert usable(rows) == {"old": (1, 1), "mid": (1, 0)}
    assert report.labels is not None
    assert report.labels.as_of_ms == NOW_MS


def test_an_hour_of_training_reads_two_hours_of_decisions(market: Market, growing: GrowingArchive) -> None:
    """The parts between the newest clicks and the conversions that have just become final are not opened."""
    waits = market.model_copy(update={"training": market.training.model_copy(update={"conversion_window_s": 100 * 3600})})
    hours_ago = {"oldest": 101, "between": 50, "newest": 1}
    for name, hours in hours_ago.items():
        growing.shows(name, NOW_MS - hours * 3_600_000)
        log_dir = growing.until(NOW_MS - hours * 3_600_000 + 1)
    previous = Origin(rows={}, labels=FinalLabels.of(waits, NOW_MS - 2 * 3_600_000))
    log_dir = growing.until(NOW_MS)
    (unread,) = [p.path for p in parts(log_dir, "decisions") if p.first_ms == NOW_MS - 50 * 3_600_000]
    unread.write_bytes(b"not Parquet")
    rows, _ = learnable_rows(waits, log_dir, NOW_MS, previous)
    assert usable(rows) == {"oldest": (0, 1), "newest": (1, 0)}


def test_labels_may_be_taken_as_known(market: Market, aging: GrowingArchive) -> None:
    at_once = market.model_copy(update={"training": market.training.model_copy(update={"delayed_labels": "ignore"})})
    log_dir = aging.until(NOW_MS)
    rows, report = learnable_rows(at_once, log_dir, NOW_MS)
    assert labels(rows) == {"old": (1, 1), "mid": (1, 0), "new": (0, 0)}
    assert not [name for name in rows.column_names if name.endswith("_usable")]
    assert report.labels is None
    earlier = Origin(rows={}, trained_through_ms=NOW_MS - 500_000)
    assert labels(learnable_rows(at_once, log_dir, NOW_MS, earlier)[0]) == {"new": (0, 0)}


def test_without_a_final_label_the_windows_and_the_way_out_are_named(market: Market, growing: GrowingArchive) -> None:
    growing.shows("i1", NOW_MS - 500_000)
    expected = (
        "rows whose label 'conversion' of task 'cvr' is final, once click_window_s = 100 and conversion_window_s = 1000 of "
        "[training] have passed, got '1 impressions, the oldest 500 s ago; later, with shorter windows, or with "
        'delayed_labels = "ignore" there will be some'
    )
    with pytest.raises(InvalidTrainingData, match=re.escape(expected)):
        learnable_rows(market, growing.until(NOW_MS), NOW_MS)


def test_nothing_to_learn_from_is_said_and_nothing_is_written(market: Market, archive: Archive, tmp_path: Path) -> None:
    out = tmp_path / "rows" / "rows.parquet"
    with pytest.raises(InvalidTrainingData, match="expected a log with at least one decision, got 'no decisions'"):
        write_training_rows(market, tmp_path / "nowhere", LATER_MS, out)
    with pytest.raises(
        InvalidTrainingData, match="expected a log with at least one rendered impression, got '1 slots, none rendered'"
    ):
        write_training_rows(market, archive([decision("d1", 5_000, slot("i1"))], []), LATER_MS, out)
    assert not out.exists()


def test_a_part_that_was_cut_short_is_named(market: Market, archive: Archive) -> None:
    log_dir = archive([decision("d1", 5_000, slot("i1"))], [event_fields("impression", "i1", "d1", 5_000)])
    (part,) = parts(log_dir, "events")
    part.path.write_bytes(part.path.read_bytes()[:-10])
    with pytest.raises(InvalidTrainingData, match=rf"^{re.escape(str(part.path))}: expected a readable Parquet file"):
        training_rows(market, log_dir, LATER_MS)


def test_rows_are_written_whole(market: Market, archive: Archive, tmp_path: Path) -> None:
    log_dir = archive([decision("d1", 5_000, slot("i1"))], [event_fields("impression", "i1", "d1", 5_000)])
    out = tmp_path / "rows" / "rows.parquet"
    report = write_training_rows(market, log_dir, LATER_MS, out)
    assert (report.rows, pq.read_table(out).num_rows) == (1, 1)
    assert [p.name for p in out.parent.iterdir()] == ["rows.parquet"]


def test_a_robots_page_is_no_row(market: Market, archive: Archive) -> None:
    robots = decision("d1", 5_000, slot("i1"), invalid="robot")
    log_dir = archive(
        [robots, decision("d2", 6_000, slot("i2"))],
        [event_fields("impression", i, d, 7_000) for i, d in (("i1", "d1"), ("i2", "d2"))],
    )
    assert labels(join_log(market, log_dir, LATER_MS)[0]) == {"i2": (0, 0)}


def test_invalid_events_show_nothing(market: Market, archive: Archive) -> None:
    marked = {"status": "invalid", "reason": "prefetch"}
    log_dir = archive(
        [decision("d1", 5_000, *(slot(i, position=p) for p, i in enumerate(("fetched", "scanned", "clicked", "swept", "seen"))))],
        [
            event_fields("impression", "fetched", "d1", 5_001, **marked),
            # A scanner follows the link before the shopper does: the shopper's click counts, from its own time on.
            *(event_fields("impression", i, "d1", 5_002) for i in ("scanned", "clicked", "swept", "seen")),
            event_fields("click", "scanned", "d1", 5_003, **marked),
            event_fields("click", "scanned", "d1", 9_003),
            event_fields("click", "clicked", "d1", 9_004),
            # Only a robot clicked: what it did says nothing of shoppers, and neither does that no one else came.
            event_fields("click", "swept", "d1", 5_005, **marked),
        ],
    )
    rows, report = join_log(market, log_dir, LATER_MS)
    assert labels(rows) == {"scanned": (1, 0), "clicked": (1, 0), "seen": (0, 0)}
    assert (report.rows, report.clicks, report.not_rendered) == (3, 2, 2)


def test_events_of_a_part_that_says_no_status_count(market: Market, archive: Archive) -> None:
    log_dir = archive(
        [decision("d1", 5_000, slot("i1"), slot("i2", position=1))],
        [*(event_fields("impression", i, "d1", 5_001) for i in ("i1", "i2")), event_fields("click", "i2", "d1", 5_002)],
    )
    for part in parts(log_dir, "events"):
        whole = pq.read_table(part.path, partitioning=None)
        pq.write_table(whole.drop(["status"]), part.path)
    assert labels(join_log(market, log_dir, LATER_MS)[0]) == {"i1": (0, 0), "i2": (1, 0)}


def test_a_click_shows_nothing_until_its_impression_is_reported(market: Market, archive: Archive) -> None:
    log_dir = archive(
        [decision("d1", 5_000, slot("never"), slot("later", position=1))],
        [
            *(event_fields("click", i, "d1", 6_000, status="pending") for i in ("never", "later")),
            event_fields("impression", "later", "d1", 7_000),
            event_fields("charge", "later", "d1", 6_000, status="settled", charged_micros=9),
        ],
    )
    assert labels(join_log(market, log_dir, LATER_MS)[0]) == {"later": (1, 0)}


def test_what_was_taken_back_later_is_not_learned_from(market: Market, archive: Archive) -> None:
    log_dir = archive(
        [decision("d1", 5_000, slot("i1"), slot("i2", position=1))],
        [
            *(event_fields("impression", i, "d1", 5_001) for i in ("i1", "i2")),
            *(event_fields("click", i, "d1", 6_000, status="settled", charged_micros=9) for i in ("i1", "i2")),
            event_fields("adjustment", "i1", "d1", 7_000, status="returned", charged_micros=-9, reason="suspect"),
        ],
    )
    assert labels(join_log(market, log_dir, LATER_MS)[0]) == {"i2": (1, 0)}
