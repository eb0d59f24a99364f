"""A training says where it is, and what came of it."""

from pathlib import Path

from offerrank.demo_view import Pipeline
from offerrank.training import progress_in, value_line


def test_before_the_first_step(tmp_path: Path) -> None:
    assert progress_in(tmp_path / "none.log") == Pipeline("starting")


def test_the_last_step_counts_and_noise_does_not(tmp_path: Path) -> None:
    log = tmp_path / "training.log"
    log.write_text(
        "9,000 impressions\n[1/14] read\n[9/14] Trainer\n[9/14] Trainer: ranker, epoch 2 of 8, 50%, loss 0.3\nW0000 noise\n"
    )
    assert progress_in(log) == Pipeline("Trainer: ranker, epoch 2 of 8, 50%, loss 0.3", 8, 14)


def test_a_training_says_what_a_conversion_is_worth() -> None:
    value = {"pcoc": 0.98765, "predicted_micros": 1_234_567.8, "observed_micros": 1_250_000.0, "rows": 4321}
    line = "a conversion's value: PCOC 0.9877, 1,234,568 micros predicted, 1,250,000 observed, 4,321 conversions"
    assert value_line(value) == line
    assert "PCOC -" in value_line(value | {"pcoc": None})
