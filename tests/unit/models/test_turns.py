"""What is noted of trainings that brought no release."""

from pathlib import Path

import pytest

from models.turns import FILE, Tried, Turns, read_turns, write_turns


def test_trainings_without_a_release_are_counted_by_kind_and_outcome() -> None:
    turns = Turns().began("full", 1_000).ended("full", "refused", "AUC of ctr is 0.4")
    turns = turns.began("incremental", 2_000).ended("incremental", "failed", "no space")
    assert turns.full == Tried(began_ms=1_000, refused=1, why="AUC of ctr is 0.4")
    assert turns.began("incremental", 3_000).ended("incremental", "failed", "again").incremental == Tried(
        began_ms=3_000, failed=2, why="again"
    )


def test_that_there_is_nothing_to_learn_from_yet_is_no_failure() -> None:
    assert Turns().began("full", 1_000).ended("full", "waiting", "no clicks yet").full == Tried(
        began_ms=1_000, why="no clicks yet"
    )


def test_a_release_makes_up_for_what_was_missed_a_full_one_for_incremental_ones_too() -> None:
    missed = Tried(began_ms=1_000, refused=2, failed=3, why="?")
    turns = Turns(full=missed, incremental=missed)
    assert turns.released("incremental") == Turns(full=missed, incremental=Tried(began_ms=1_000))
    assert turns.released("full") == Turns(full=Tried(began_ms=1_000))


def test_a_full_release_that_is_not_in_the_notes_makes_up_for_what_was_missed_before_it() -> None:
    turns = Turns(full=Tried(began_ms=1_000, refused=1), incremental=Tried(failed=2))
    assert turns.made_up_by(full_ms=999) == turns
    assert turns.made_up_by(full_ms=1_001) == Turns(full=Tried(began_ms=1_000), incremental=Tried(failed=2))


def test_a_training_that_never_ended_was_killed_and_counts_as_failed() -> None:
    killed = Turns().began("full", 1_000)
    assert killed.full == Tried(began_ms=1_000, at_work=True)
    assert killed.began("full", 2_000).full == Tried(began_ms=2_000, at_work=True, failed=1, why="it was killed")


def test_it_is_read_back_and_what_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    turns = Turns().began("full", 1_000)
    write_turns(tmp_path, turns)
    assert read_turns(tmp_path) == turns
    assert [p.name for p in tmp_path.iterdir()] == [FILE]
    (tmp_path / FILE).write_text("{")
    assert read_turns(tmp_path) == Turns()
    assert read_turns(tmp_path / "nowhere") == Turns()


def test_no_folder_of_releases_is_made_for_it_and_one_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    write_turns(tmp_path / "nowhere", Turns())
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / FILE).mkdir()
    with pytest.raises(OSError, match=FILE):
        write_turns(tmp_path, Turns())
    assert [p.name for p in tmp_path.iterdir()] == [FILE]
