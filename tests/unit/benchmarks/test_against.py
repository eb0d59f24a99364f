"""What a decision costs now and cost at another commit."""

import io

import pytest
from rich.console import Console

from benchmarks.against import cpu_ms, ratio, report


def test_cpu_per_decision_leaves_out_whoever_asks_and_other_programs() -> None:
    shares = {"gateway": 0.2, "redis": 0.02, "load generator": 0.3, "everything else": 0.4}
    assert cpu_ms({"decisions_per_s": 40.0, "cpu_share": shares}) == pytest.approx({"gateway": 5.0, "redis": 0.5, "all": 5.5})


def test_a_machine_that_is_slower_for_both_changes_no_ratio() -> None:
    pairs = [{"gateway": [5.0, 4.0]}, {"gateway": [10.0, 8.0]}, {"gateway": [7.5, 6.0]}]
    assert ratio(pairs, "gateway") == pytest.approx((0.8, 0.8, 0.8))


def test_the_interval_is_that_of_the_mean_of_the_logarithms() -> None:
    mean, least, most = ratio([{"gateway": [1.0, 1.1]}, {"gateway": [1.0, 1 / 1.1]}], "gateway")
    # The standard error is ln 1.1; Student's t with one degree of freedom, 97.5 %: 12.706.
    assert mean == pytest.approx(1.0)
    assert (least, most) == pytest.approx((1.1**-12.706, 1.1**12.706), rel=1e-3)


def test_a_single_pair_shows_no_interval_and_a_process_that_did_nothing_no_line() -> None:
    out = io.StringIO()
    pairs = [{"gateway": [5.0, 4.5], "pacer": [0.0, 0.0], "all": [5.0, 4.5]}]
    report(Console(file=out, width=100), {"rev": "v1", "rate": 40.0, "seconds": 30.0, "pairs": pairs})
    assert "0.900" in out.getvalue()
    assert "inf" not in out.getvalue()
    assert "pacer" not in out.getvalue()
