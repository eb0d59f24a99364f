"""A training log says where the training is."""

from pathlib import Path

from offerrank.demo_view import Pipeline
from offerrank.training import progress_in


def test_before_the_first_step(tmp_path: Path) -> None:
    assert progress_in(tmp_path / "none.log") == Pipeline("starting")


def test_the_last_step_counts_and_noise_does_not(tmp_path: Path) -> None:
    log = tmp_path / "training.log"
    log.write_text(
        "9,000 impressions\n[1/14] read\n[9/14] Trainer\n[9/14] Trainer: ranker, epoch 2 of 8, 50%, loss 0.3\nW0000 noise\n"
    )
    assert progress_in(log) == Pipeline("Trainer: ranker, epoch 2 of 8, 50%, loss 0.3", 8, 14)
