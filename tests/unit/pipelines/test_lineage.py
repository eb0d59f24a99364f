"""What a release goes back to and which decisions taught it, from manifests and an archive made by hand."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from growing_archive import GrowingArchive
from log_entries import MARKET_TOML, decision, decision_fields, event_fields, slot
from typer.testing import CliRunner

from domain.errors import OfferRankError
from features.log_archive import DECISIONS, parts
from features.market import Market, load_market
from models import release
from models.release import FinalLabels, Manifest
from offerrank.cli import app
from pipelines.lineage import Learned, Releases
from pipelines.lineage_archive import count_decisions, find_decision
from pipelines.splits import EVAL, hash_split, held_out
from store.runs import Run, Step, write_run

HOUR_MS = 3_600_000
START = 1_790_000_000_000 // HOUR_MS * HOUR_MS
CLICK_S, CONVERSION_S = 3600, 7200
"""Windows: an hour for a click, and two more for its conversion."""
SPLIT = 'split = { kind = "hash", by = "decision_id" }'


def at(hours: float) -> int:
    """That many hours after the archive's first decision."""
    return START + round(hours * HOUR_MS)


def write_market(path: Path) -> Market:
    windows = f"click_window_s = {CLICK_S}\nconversion_window_s = {CONVERSION_S}\n{SPLIT}\n"
    path.write_text(MARKET_TOML.replace("click_window_s = 100\nconversion_window_s = 1000\n", windows))
    return load_market(path)


def labels(hours: float) -> FinalLabels:
    return FinalLabels(as_of_ms=at(hours), click_window_s=CLICK_S, conversion_window_s=CONVERSION_S)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A full training after 5 hours, an incremental one after 7 and its recalibration after 8, and one on a file."""
    folder = tmp_path / "releases"
    market = write_market(tmp_path / "market.toml")
    places = held_out(market.training.split, market.model.seed)

    def write(version: int, hours: float, **made: Any) -> None:
        (folder / str(version) / release.EXTRA).mkdir(parents=True)
        write_market(folder / str(version) / release.MARKET)
        always = {"market": "corner", "inputs": (), "tasks": ("ctr", "cvr"), "embedding_dim": 8, "packages": {}}
        rows = {"rows": {"train": 80, "valid": 10, "eval": 10}, "created_ms": at(hours)}
        manifest = Manifest(**{"version": version, **always, **rows, **made})
        (folder / str(version) / release.MANIFEST).write_text(manifest.model_dump_json())

    full = {"trained_through_ms": at(4), "labels": labels(5), "held_out": places}
    more = {"trained_through_ms": at(6), "labels": labels(7), "held_out": places, "warm_from": 10, "full_ms": at(5)}
    write(10, 5, **full)
    write(11, 7, **more)
    write(12, 8, **more, recalibrated_from=11)
    write(13, 9)
    return folder


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    """A decision every half hour; each third is clicked."""
    archive = GrowingArchive(write_market(tmp_path / "m.toml"), tmp_path / "log")
    for n in range(20):
        archive.shows(f"d{n}", at(n / 2), at(n / 2) + 60_000 if n % 3 == 0 else None)
        if n == 9:
            archive.until(at(5) - 1)
    return archive.until(at(10))


def said(*arguments: object) -> Any:
    done = CliRunner().invoke(app, ["lineage", *map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_a_release_goes_back_to_its_full_training(folder: Path) -> None:
    releases = Releases(folder)
    assert [(one.version, one.kind, one.parent) for one in releases.line(12)] == [
        (12, "recalibration", 11),
        (11, "incremental", 10),
        (10, "full", None),
    ]
    assert [one.kind for one in releases.line(13)] == ["full"]
    assert (releases.successors(10), releases.successors(12), releases.successors(13)) == ([11, 12], [], [])


def test_a_training_learns_each_label_once_when_it_is_final(folder: Path) -> None:
    full, more = (Releases(folder).training(version).learned for version in (10, 11))
    # Final as of 5 h: clicks of decisions up to 4 h, conversions of those up to 2 h; two hours later two hours more of each.
    assert full == {"click": Learned(0, at(4)), "conversion": Learned(0, at(2))}
    assert more == {"click": Learned(at(4) + 1, at(6)), "conversion": Learned(at(2) + 1, at(4))}
    assert Releases(folder).training(12).learned == {}
    assert Releases(folder).training(13).learned == {}


def test_a_release_that_is_gone_is_named_and_a_damaged_manifest_is_too(folder: Path) -> None:
    (folder / "10" / release.MANIFEST).write_text("{}")
    releases = Releases(folder)
    assert [one.version for one in releases.line(12)] == [12, 11]
    assert set(releases.unreadable) == {10}
    with pytest.raises(OfferRankError, match=r"release\.json: rows: is missing"):
        releases.training(10)
    with pytest.raises(OfferRankError, match="expected a release 99, found 11, 12, 13"):
        releases.training(99)


def test_a_damaged_manifest_is_told_in_json_too(folder: Path, log_dir: Path) -> None:
    (folder / "13" / release.MANIFEST).write_text("{")
    told = said("11", "--releases", folder, "--log", log_dir)
    assert list(told["unreadable"]) == ["13"]


def test_decisions_are_counted_by_footers_and_where_a_span_cuts_a_group_by_times(log_dir: Path) -> None:
    # One every half hour, and the empty pages at 5 h and 10 h.
    assert count_decisions(log_dir, 0, at(20)).decisions == 22
    counted = count_decisions(log_dir, at(1), at(2))
    assert (counted.decisions, counted.first_ms, counted.last_ms) == (3, at(1), at(2))
    assert count_decisions(log_dir, at(50), at(60)).decisions == 0


def test_a_part_that_cannot_be_read_is_named_and_the_rest_counts(log_dir: Path) -> None:
    first, _ = parts(log_dir, DECISIONS)
    first.path.write_bytes(b"PAR1 cut short")
    counted = count_decisions(log_dir, 0, at(20))
    assert counted.decisions == 11
    assert [line.partition(": ")[0] for line in counted.unreadable] == [str(first.path)]
    assert find_decision(log_dir, "d1") is None
    found = find_decision(log_dir, "d15")
    assert found is not None
    assert found["time_ms"] == at(7.5)


def test_the_command_says_what_a_release_goes_back_to(folder: Path, log_dir: Path) -> None:
    steps = (Step("join", at(7), 2.0, rows_out=100, peak_bytes=2**30), Step("Trainer", at(7), 40.0, rows_in=90))
    write_run(folder, Run("r", "incremental", "corner", str(log_dir), at(7), 10, at(7), at(7), "released", "", 11, {}, steps))
    told = said("11", "--releases", folder, "--log", log_dir)
    assert (told["kind"], told["went_on_from"], told["rows"]["train"]) == ("incremental", 10, 80)
    assert told["learned"]["click"] == {"from_ms": at(4) + 1, "through_ms": at(6)}
    # From just after 2 h, whose click was known before, through 6 h: every half hour, and the empty page at 5 h.
    assert told["decisions"] == {"decisions": 9, "first_ms": at(2.5), "last_ms": at(6), "unreadable": []}
    assert [one["release"] for one in told["goes_back_to"]] == [10]
    assert [step["name"] for step in told["run"]["steps"]] == ["join", "Trainer"]
    assert told["serving"]["newest_decision"] == {"release": "cold-start", "time_ms": at(10)}
    assert told["learned_on_by"] == [12]
    assert "there is none yet" in told["metadata"]["missing"]
    assert not (folder / "metadata.sqlite").exists()


def test_it_is_told_to_people_too(folder: Path, log_dir: Path) -> None:
    for what in ("12", str(folder / "12"), "d3"):
        done = CliRunner().invoke(app, ["lineage", what, "--releases", str(folder), "--log", str(log_dir)])
        assert done.exit_code == 0, done.output
        assert "recalibration of 11" in done.output or "decision d3" in done.output


def test_a_decision_has_taught_the_releases_that_learned_its_labels(folder: Path, log_dir: Path) -> None:
    market = load_market(folder / "10" / release.MARKET)

    def verdicts(name: str) -> dict[int, tuple[str, tuple[str, ...]]]:
        found = said(name, "--releases", folder, "--log", log_dir)["taught"]
        return {one["release"]: (one["verdict"], tuple(one["labels"])) for one in found}

    def expected(name: str, *taught: tuple[str, ...]) -> dict[int, tuple[str, tuple[str, ...]]]:
        """What releases 10, 11 and 12 have of it; 13 learned on a file."""
        judges = hash_split(pa.array([name]), market.training.split, market.model.seed)[0] == EVAL
        how = "held out" if judges else "learned"
        told = {v: (how, found) if found else ("not learned", ()) for v, found in zip((10, 11, 12), taught, strict=True)}
        return told | {13: ("unknown", ())}

    both = ("click", "conversion")
    names = [f"d{n}" for n in range(20)]
    assert {verdicts(name)[10][0] for name in names[:8]} == {"learned", "held out"}
    assert verdicts("d0") == expected("d0", both, both, both)
    assert verdicts("d6") == expected("d6", ("click",), both, both)
    # After 5 h: release 10 was there already.
    assert verdicts("d11") == {
        version: one for version, one in expected("d11", (), ("click",), ("click",)).items() if version > 10
    }
    assert verdicts("d13") == {version: one for version, one in expected("d13", (), (), ()).items() if version > 10}


def test_what_was_not_seen_or_not_sold_has_taught_nothing(folder: Path, tmp_path: Path) -> None:
    archive = GrowingArchive(write_market(tmp_path / "m.toml"), tmp_path / "log")
    archive.shows("unseen", at(0))
    archive.entries["events"].clear()
    archive.shows("robots", at(0.1), click_ms=at(0.2))
    _, (when, _) = archive.entries["events"]
    archive.entries["events"] = [(when, event_fields("click", "robots", "robots", when, status="invalid", reason="robot"))]
    log_dir = archive.until(at(1))
    for name, why in (("unseen", "was not seen"), ("robots", "all its clicks were invalid traffic")):
        told = said(name, "--releases", folder, "--log", log_dir)
        assert {one["verdict"] for one in told["taught"]} == {"not learned"}
        assert why in told["slots"][0]["left_out"]
    empty = said(f"empty-{at(1)}", "--releases", folder, "--log", log_dir)
    assert {one["why"] for one in empty["taught"]} == {"sold nothing"}


def test_a_decision_says_which_release_made_it_and_what_that_goes_back_to(folder: Path, tmp_path: Path) -> None:
    archive = GrowingArchive(write_market(tmp_path / "m.toml"), tmp_path / "log")
    made = decision("late", at(8.5), slot("late"), release="12")
    archive.entries["decisions"].append((at(8.5), decision_fields(made)))
    told = said("late", "--releases", folder, "--log", archive.until(at(9)))
    assert told["release"] == "12"
    assert [one["release"] for one in told["made_by"]] == [12, 11, 10]
    assert [one["release"] for one in told["taught"]] == [13]


def test_what_is_neither_is_an_error_in_one_line(folder: Path, log_dir: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["lineage", "99", "--releases", str(folder), "--log", str(log_dir)])
    assert (done.exit_code, done.output.strip()) == (
        2,
        f"offerrank: 99: neither a release in {folder} nor a decision in {log_dir}",
    )
    nowhere = CliRunner().invoke(app, ["lineage", "12", "--releases", str(tmp_path / "no"), "--log", str(tmp_path / "log")])
    assert nowhere.exit_code == 2
    wrong = CliRunner().invoke(app, ["lineage", "12", "--releases", str(folder), "--metadata", "redis://db"])
    assert "OFFERRANK_METADATA: expected sqlite:///PATH" in wrong.output
