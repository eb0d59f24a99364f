"""What a row's conversions were worth: the sum of its orders, by the last word about each."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from log_entries import decision, event_fields, slot

from domain.events import Decision
from features.market import Market
from pipelines.examples import join_log, learnable_rows
from pipelines.order_values import order_values

Archive = Callable[[Iterable[Decision], Iterable[dict[bytes, bytes]]], Path]
WINDOW_S = 1000
LATER_MS = 10_000_000
# type, order, ms after the click, value
Word = tuple[str, str, int, int | None]


def worth(*words: Word, clicked_ms: int | None = 5_000) -> int | None:
    """Of the impression `i`, where others have events of their own."""
    others: list[Word] = [("conversion", "a", 1, 7), ("correction", "a", 2, 8)]
    told = [("i", *w) for w in words] + [("other", *w) for w in others] + [("unknown", *w) for w in others]
    events = pa.table(
        {
            "impression_id": [t[0] for t in told],
            "type": [t[1] for t in told],
            "order_id": pa.array([t[2] or None for t in told], pa.string()),
            "time_ms": pa.array([5_000 + t[3] for t in told], pa.int64()),
            "value_micros": pa.array([t[4] for t in told], pa.int64()),
        }
    )
    of_i, of_other, of_none = order_values(
        events, pa.array(["i", "other", "none"]), pa.array([clicked_ms, 5_000, None], pa.int64()), WINDOW_S
    ).to_pylist()
    assert (of_other, of_none) == (8, None)
    return None if of_i is None else int(of_i)


SOLD: Word = ("conversion", "a", 100, 50)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([], None),
        ([SOLD], 50),
        ([("conversion", "", 100, 50)], 50),
        ([SOLD, ("conversion", "b", 200, 30)], 80),  # two orders of one click
        ([SOLD, ("correction", "a", 300, 40)], 40),
        ([SOLD, ("correction", "b", 300, 40)], 50),  # of an order that was not this click's
        ([SOLD, ("correction", "a", 400, 20), ("correction", "a", 300, 40)], 20),  # a late retry of an earlier word
        ([SOLD, ("correction", "a", 300, 40), ("correction", "a", 300, 20)], 20),  # at the same time: the later in the log
        ([SOLD, ("correction", "a", 300, 40), ("correction", "a", 300, 40)], 40),
        ([SOLD, ("correction", "a", 99, 40)], 40),  # the clock of who corrects is behind
        ([SOLD, ("return", "a", 300, None)], 0),
        ([SOLD, ("conversion", "b", 200, 30), ("return", "a", 300, None)], 30),
        ([SOLD, ("return", "a", 300, None), ("correction", "a", 400, 10)], 10),
        ([SOLD, ("correction", "a", 9_999_999, 40)], 40),  # however late
        ([("conversion", "a", 1_000_000, 50)], 50),  # the window's last ms
        ([("conversion", "a", 1_000_001, 50)], None),
        ([SOLD, ("conversion", "b", 1_000_001, 30)], 50),
        ([("conversion", "a", 100, None)], None),  # nobody said
        ([SOLD, ("conversion", "b", 100, None)], None),  # not 50: it was more
        ([("conversion", "a", 100, None), ("correction", "a", 300, 40)], 40),
        ([("correction", "a", 300, 40)], None),  # of no conversion
        ([("return", "a", 300, None)], None),
        ([("click", "a", 0, 99), SOLD, ("charge", "a", 300, 99)], 50),  # a charge repeats what its conversion said
    ],
)
def test_the_last_word_about_each_order_counts(words: list[Word], value: int | None) -> None:
    assert worth(*words) == value


def test_without_a_click_nothing_counts() -> None:
    assert worth(SOLD, clicked_ms=None) is None


def test_the_order_of_the_log_does_not_matter_where_times_differ() -> None:
    words: list[Word] = [SOLD, ("conversion", "b", 90, 30), *(("correction", "ab"[i % 2], 200 + i, i) for i in range(9))]
    rng = np.random.default_rng(1)
    assert {worth(*(words[i] for i in rng.permutation(len(words)))) for _ in range(20)} == {8 + 7}


def test_rows_say_what_was_sold_as_it_is_known(market: Market, archive: Archive) -> None:
    shown = [decision(f"d{i}", 5_000, slot(f"i{i}")) for i in range(4)]
    events = [event_fields("impression", f"i{i}", f"d{i}", 5_100) for i in range(4)]
    events += [event_fields("click", f"i{i}", f"d{i}", 6_000) for i in range(3)]
    events += [
        event_fields("conversion", f"i{i}", f"d{i}", 7_000, value_micros=59_900_000, order_id=f"o{i}", charged_micros=2_000_000)
        for i in range(2)
    ]
    # Long after the windows, within that of returns.
    events.append(event_fields("correction", "i1", "d1", 5_000_000, value_micros=20_000_000, order_id="o1"))
    log_dir = archive(shown, events)
    rows, report = join_log(market, log_dir, LATER_MS)
    values = [59_900_000, 20_000_000, None, None]
    assert rows["conversion_value_micros"].to_pylist() == values
    assert rows["conversion"].to_pylist() == [1, 1, 0, 0]
    assert report.orphan_events == 0
    before, _ = join_log(market, log_dir, 4_999_999)
    assert before["conversion_value_micros"].to_pylist() == [59_900_000, 59_900_000, None, None]
    learned, _ = learnable_rows(market, log_dir, LATER_MS)
    assert learned["conversion_value_micros"].to_pylist() == values


def test_invalid_corrections_and_those_of_a_conversion_that_came_too_late_say_nothing(market: Market, archive: Archive) -> None:
    events = [event_fields("impression", f"i{i}", f"d{i}", 5_100) for i in range(2)]
    events += [event_fields("click", f"i{i}", f"d{i}", 6_000) for i in range(2)]
    events += [
        event_fields("conversion", "i0", "d0", 7_000, value_micros=5),
        event_fields("correction", "i0", "d0", 8_000, value_micros=9, status="invalid", reason="robot"),
        event_fields("conversion", "i1", "d1", 1_006_001, value_micros=5, status="expired"),
    ]
    rows, _ = join_log(market, archive([decision(f"d{i}", 5_000, slot(f"i{i}")) for i in range(2)], events), LATER_MS)
    assert list(zip(rows["conversion"].to_pylist(), rows["conversion_value_micros"].to_pylist(), strict=True)) == [
        (1, 5),
        (0, None),
    ]
