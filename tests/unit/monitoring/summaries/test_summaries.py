import numpy as np
import pytest

from domain.errors import ContractError
from monitoring.summaries import (
    ALL,
    FLOW,
    MOST_VALUES,
    Calibration,
    Flows,
    HourSummary,
    Numbers,
    Series,
    Slice,
    Values,
    from_bytes,
    merged,
)


def test_values_outside_of_the_vocabulary_are_counted():
    values = Values.of({"DE": 5, "NL": 2, "XX": 3}, rows=12, missing=2, vocabulary={"DE", "NL"})
    assert (values.rows, values.missing, values.unknown, values.present, values.other) == (12, 2, 3, 10, 0)


def test_only_the_most_frequent_values_are_kept_each():
    counts = {f"v{i:05d}": 1 for i in range(1_000)} | {"often": 500}
    values = Values.of(counts, rows=1500)
    assert len(values.counts) == MOST_VALUES
    assert values.counts["often"] == 500
    assert values.present == 1500
    assert values.other == 1000 - (MOST_VALUES - 1)


def test_a_million_values_stay_small():
    whole = Values()
    for part in range(4):
        whole = whole.merge(Values.of({f"{part}-{i}": 1 for i in range(250_000)}, rows=250_000))
    assert whole.present == whole.rows == 1_000_000
    assert len(whole.to_bytes()) < 2_000


def test_a_frequent_value_of_many_is_close_to_its_true_count():
    parts = [Values.of({"head": 100} | {f"{part}-{i}": 1 for i in range(1_000)}, rows=1_100) for part in range(10)]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merge(part)
    assert whole.counts["head"] == 1_000


def test_calibration_is_summed_by_predicted_probability():
    rows = Calibration.of([0.001, 0.01, 0.5, 0.5], [0, 1, 1, 0], [100, 100, 1_000, 0])
    assert (rows.rows, rows.sum_y) == (4, 2)
    assert rows.sum_p == pytest.approx(1.011)
    assert rows.sum_variance == pytest.approx(0.000999 + 0.0099 + 0.5)
    assert rows.pcoc == pytest.approx(1.011 / 2)
    assert rows.bin_rows.tolist() == [1, 0, 1, 0, 0, 0, 0, 0, 2, 0]  # 0.01 is on an edge, and above it
    assert rows.bin_y.tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 1, 0]
    # Of the rows that are billed: 100 + 1000 came, and 0.001 * 100 + 0.01 * 100 + 0.5 * 1000 were to come, each to a micro.
    assert (rows.charged_micros, rows.expected_micros) == (1_100, 501)


def test_calibration_refuses_what_is_no_probability():
    with pytest.raises(ContractError, match="1\\.2"):
        Calibration.of([0.5, 1.2], [0, 0], [0, 0])


def test_money_that_was_given_back_is_not_lost_in_a_merge():
    assert Flows({"charged_micros": -5}).merge(Flows({"charged_micros": 2, "clicks": 1})).counts == {
        "charged_micros": -3,
        "clicks": 1,
    }
    assert Flows()["clicks"] == 0


def test_an_hour_merges_series_by_series():
    country = Series("feature", "country")
    german = Slice("country", "DE")
    one = HourSummary(0, "3", {(ALL, FLOW): Flows({"pages": 1}), (ALL, country): Values.of({"DE": 1}, 1)})
    other = HourSummary(0, "3", {(ALL, FLOW): Flows({"pages": 2}), (german, FLOW): Flows({"pages": 2})})
    both = one.merge(other)
    assert both.by == {
        (ALL, FLOW): Flows({"pages": 3}),
        (ALL, country): Values.of({"DE": 1}, 1),
        (german, FLOW): Flows({"pages": 2}),
    }


@pytest.mark.parametrize(
    "summary",
    [
        Numbers.of([1.0, 2.0, np.nan]),
        Values.of({"é": 1, "": 2}, rows=4, missing=1),
        Calibration.of([0.2], [1], [5]),
        Flows({"pages": 3}),
    ],
    ids=lambda summary: type(summary).__name__,
)
def test_every_summary_is_read_as_it_was_written(summary):
    assert from_bytes(summary.to_bytes()) == summary
    assert merged(summary, summary) == summary.merge(summary)


def test_summaries_of_different_kinds_do_not_merge():
    with pytest.raises(ContractError, match="expected another Flows"):
        merged(Flows(), Values())
    with pytest.raises(ContractError, match="kinds"):
        from_bytes(b"?")
