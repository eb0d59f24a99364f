"""A release whose model stays while the world moves: the calibrator follows the log, or is left alone."""

import os
import subprocess
import sys
from pathlib import Path

import log_entries
import numpy as np
import pytest
from steady_model import save_model, seal_release

from domain.clock import now_ms
from domain.errors import ContractError, InvalidTrainingData
from features.log_archive import StreamId
from features.market import Market, load_market
from models import release
from models.calibration import Calibrator, TaskCalibration, sigmoid
from models.release import FinalLabels, LeftOut, Manifest, load_release, versions
from pipelines.recalibration import recalibrate
from serving.archiver.files import write_part
from serving.archiver.rows import Entry, log_formats

MARKET_TOML = log_entries.MARKET_TOML.replace("[training]", '[training]\ncalibration.slices = ["brand", "country"]')
N = 4000
CLICK_S, CONVERSION_S = 100, 1000  # the market's windows of attribution
WINDOW_S = 3600
BRAND_SHIFT = {"green": 0.8, "red": -0.4}


@pytest.fixture(scope="module")
def now() -> int:
    return now_ms()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, now: int) -> Path:
    """market.toml, a log of a world that has moved on from the model, and releases with one release in it."""
    folder = tmp_path_factory.mktemp("recalibrate")
    (folder / "market.toml").write_text(MARKET_TOML)
    market = load_market(folder / "market.toml")
    write_log(market, folder / "log", now)
    save_model(folder / "model")
    return folder


@pytest.fixture
def market(folder: Path) -> Market:
    return load_market(folder / "market.toml")


@pytest.fixture
def releases(tmp_path: Path, folder: Path, market: Market) -> Path:
    """Of one release, 100, whose calibrator changes nothing."""
    return seal_release(tmp_path / "releases", folder / "model", market, 100).parent


def write_log(market: Market, log_dir: Path, now: int, lost: bool = False) -> None:
    """N pages of one offer whose labels can no longer change, and 500 whose clicks may yet come.

    Clicks follow the model, but shifted by brand, and get there unless they are lost; three of ten convert, as the model says.
    """
    rng = np.random.default_rng(5)
    mature = np.linspace(now - 1000 * (CLICK_S + WINDOW_S - 1), now - 1000 * (CLICK_S + CONVERSION_S + 1), N)
    young = np.linspace(now - 1000 * (CLICK_S - 10), now - 1000, 500)
    decisions, events, clicks = [], [], 0
    for i, at in enumerate([*mature.astype(int).tolist(), *young.astype(int).tolist()]):
        offer = ("green", "red")[i % 2]
        amount = float(rng.uniform(0, 100))
        made = log_entries.slot(f"i{i}", offer=offer)
        features = {"country": "DE", "amount": amount, "past_clicks": 0}
        decisions.append(log_entries.decision_fields(log_entries.decision(f"d{i}", at, made, features=features)))
        events.append(log_entries.event_fields("impression", f"i{i}", f"d{i}", at + 10, offer=offer))
        if rng.random() < sigmoid(np.array(0.02 * amount - 2 + BRAND_SHIFT[offer])) and not lost:
            events.append(log_entries.event_fields("click", f"i{i}", f"d{i}", at + 500, offer=offer))
            clicks += 1
            if clicks % 10 in (0, 3, 6):
                events.append(log_entries.event_fields("conversion", f"i{i}", f"d{i}", at + 900, offer=offer))
    entries = {"decisions": decisions, "events": events}
    for log in log_formats(market):
        numbered = [Entry(StreamId(now, i), fields) for i, fields in enumerate(entries[log.name])]
        table, rejected = log.table(numbered)
        assert not rejected
        write_part(log_dir, log.name, table, rejected, numbered[0].id, numbered[-1].id)


def test_a_new_calibrator_is_released_with_the_same_model(folder: Path, market: Market, releases: Path, now: int) -> None:
    done = recalibrate(market, folder / "log", releases, WINDOW_S, now)
    assert done.release is not None
    old, new = load_release(releases / "100"), load_release(done.release).compatible_with(market)
    assert versions(releases) == [100, now // 1000]
    assert [p for p in releases.iterdir() if not p.name.isdecimal()] == []
    assert (new.manifest.recalibrated_from, new.manifest.created_ms) == (100, now)
    assert new.manifest.full_ms == old.manifest.created_ms  # the next full training is due when it was
    for name in (release.SAVED_MODEL, release.INDEX, "variables/variables.index"):
        assert os.path.samefile(old.path / name, new.path / name)
    assert old.calibrator.tasks["ctr"] == TaskCalibration()
    assert new.calibrator == done.calibrator

    ctr = done.report.tasks["ctr"]
    # Rows younger than the click window are not counted: those pages may yet be clicked.
    assert (ctr.rows_fitted + ctr.rows_judged, ctr.rows_judged) == (N, pytest.approx(0.2 * N, abs=2))
    assert ctr.log_loss_after is not None
    assert ctr.log_loss_before is not None
    assert ctr.log_loss_after < ctr.log_loss_before - 0.01
    assert ctr.pcoc_after == pytest.approx(1, abs=0.15)
    learned = new.calibrator.tasks["ctr"].slices
    assert learned["brand"].shift["leaf"] - learned["brand"].shift["cellar"] == pytest.approx(1.2, abs=0.25)
    assert list(learned["country"].shift) == ["DE"]


def test_a_task_that_gains_nothing_keeps_what_it_has(folder: Path, market: Market, releases: Path, now: int) -> None:
    done = recalibrate(market, folder / "log", releases, WINDOW_S, now)
    cvr = done.report.tasks["cvr"]
    assert cvr.rows_judged > 100
    assert not cvr.replaced
    assert done.calibrator.tasks["cvr"] == TaskCalibration()
    assert done.calibrator.tasks["ctr"] != TaskCalibration()


def test_a_second_time_there_is_nothing_better(folder: Path, market: Market, releases: Path, now: int) -> None:
    first = recalibrate(market, folder / "log", releases, WINDOW_S, now)
    again = recalibrate(market, folder / "log", releases, WINDOW_S, now)
    assert again.release is None
    assert again.report.release == now // 1000
    assert again.calibrator == first.calibrator
    assert versions(releases) == [100, now // 1000]


def test_recalibrated_twice_it_still_names_the_training(folder: Path, market: Market, releases: Path, now: int) -> None:
    first = recalibrate(market, folder / "log", releases, WINDOW_S, now)
    assert first.release is not None
    # As if the calibration in service had gone off again.
    off = Calibrator(tasks={t.name: TaskCalibration() for t in market.tasks})
    (first.release / release.CALIBRATOR).write_text(off.model_dump_json())
    release.seal(first.release, Manifest.model_validate_json((first.release / release.MANIFEST).read_bytes()))
    second = recalibrate(market, folder / "log", releases, WINDOW_S, now)
    assert second.release is not None
    assert second.report.release == now // 1000
    assert load_release(second.release).manifest.recalibrated_from == 100
    assert load_release(first.release).calibrator == off


def test_few_rows_change_nothing(folder: Path, market: Market, releases: Path, now: int) -> None:
    done = recalibrate(market, folder / "log", releases, 1300, now)
    assert done.release is None
    assert 0 < done.report.tasks["ctr"].positives_judged < 50
    assert done.report.tasks["ctr"].log_loss_before is None
    assert versions(releases) == [100]


def test_nothing_to_recalibrate_or_nothing_to_learn_from(folder: Path, market: Market, releases: Path, now: int) -> None:
    with pytest.raises(ContractError, match="expected a folder with at least one release, found none"):
        recalibrate(market, folder / "log", folder / "nowhere", WINDOW_S, now)
    with pytest.raises(InvalidTrainingData, match="at least one decision"):
        recalibrate(market, folder / "nowhere", releases, WINDOW_S, now)


def test_the_window_counts_back_from_the_end_of_the_archive(folder: Path, market: Market, releases: Path, now: int) -> None:
    tomorrow = now + 86_400_000
    done = recalibrate(market, folder / "log", releases, WINDOW_S, tomorrow)
    ctr = done.report.tasks["ctr"]
    # Not the 500 pages at its end either, whose clicks may have come when nobody archived them.
    assert (ctr.rows_fitted + ctr.rows_judged, done.report.as_of_ms) == (N, now)
    assert versions(releases) == [100, tomorrow // 1000]


def learned(releases: Path, as_of_ms: int, waiting: dict[str, int] | None = None, left_out: tuple[LeftOut, ...] = ()) -> None:
    """As if the release had learned from the labels that were final then, in one pass after the other."""
    path = releases / "100"
    labels = FinalLabels(as_of_ms=as_of_ms, click_window_s=CLICK_S, conversion_window_s=CONVERSION_S, waiting=waiting or {})
    manifest = Manifest.model_validate_json((path / release.MANIFEST).read_bytes())
    through_ms = as_of_ms - 1000 * CLICK_S
    learned_from = {"trained_through_ms": through_ms, "labels": labels, "progressive": True, "left_out": left_out}
    made = manifest.model_copy(update=learned_from)
    release.seal(path, made)


def test_rows_that_the_model_has_trained_on_are_left_out(folder: Path, market: Market, releases: Path, now: int) -> None:
    as_of_ms = now - 1_800_000
    learned(releases, as_of_ms)
    done = recalibrate(market, folder / "log", releases, WINDOW_S, now)
    ctr, cvr = done.report.tasks["ctr"], done.report.tasks["cvr"]
    # 4,000 pages lie evenly between 3,699 s and 1,101 s ago. Clicks were learned of those shown up to 1,800 + 100 s ago,
    # conversions of those up to 1,800 + 1,100 s ago; of the others three in ten, or so, were clicked.
    assert ctr.rows_fitted + ctr.rows_judged == pytest.approx(N * (1_900 - 1_101) / (3_699 - 1_101), abs=2)
    clicked = (cvr.rows_fitted + cvr.rows_judged) / (N * (2_900 - 1_101) / (3_699 - 1_101))
    assert clicked == pytest.approx(0.3, abs=0.05)


def test_a_label_that_waited_in_the_last_pass_has_not_been_trained_on(
    folder: Path, market: Market, releases: Path, now: int
) -> None:
    learned(releases, now - 1_800_000, waiting={"conversion": now - 1_000_000_000})
    done = recalibrate(market, folder / "log", releases, WINDOW_S, now)
    ctr, cvr = done.report.tasks["ctr"], done.report.tasks["cvr"]
    assert ctr.rows_fitted + ctr.rows_judged == pytest.approx(N * (1_900 - 1_101) / (3_699 - 1_101), abs=2)
    assert (cvr.rows_fitted + cvr.rows_judged) / N == pytest.approx(0.3, abs=0.05)


def test_what_a_pass_left_out_is_not_fitted_either(folder: Path, market: Market, releases: Path, now: int) -> None:
    """Half of the clicks since the pass were not believed."""
    last_s, first_s = 1_101, 1_900
    until_ms = now - 1000 * (first_s + last_s) // 2
    doubted = LeftOut(label="click", from_ms=0, until_ms=until_ms, why="clicks got lost")
    learned(releases, now - 1_800_000, left_out=(doubted,))
    ctr = recalibrate(market, folder / "log", releases, WINDOW_S, now).report.tasks["ctr"]
    assert ctr.rows_fitted + ctr.rows_judged == pytest.approx(N * (first_s - last_s) / 2 / (3_699 - 1_101), abs=2)


def test_clicks_that_got_lost_do_not_make_a_calibration(market: Market, releases: Path, now: int, tmp_path: Path) -> None:
    """To follow such a log would end all bids."""
    write_log(market, tmp_path / "log", now, lost=True)
    done = recalibrate(market, tmp_path / "log", releases, WINDOW_S, now)
    assert done.release is None
    assert {task.rows_fitted + task.rows_judged for task in done.report.tasks.values()} == {0}


def test_without_rows_that_the_model_has_not_trained_on_nothing_is_published(
    folder: Path, market: Market, releases: Path, now: int
) -> None:
    learned(releases, now)
    expected = "labels that have become final since release 100 learned, within 3,600 s, got 'none in 4,500 impressions'"
    with pytest.raises(InvalidTrainingData, match=expected):
        recalibrate(market, folder / "log", releases, WINDOW_S, now)
    assert versions(releases) == [100]


@pytest.fixture
def command(folder: Path, releases: Path) -> list[str]:
    options = ["--market", str(folder / "market.toml"), "--log", str(folder / "log"), "--releases", str(releases)]
    return [sys.executable, "-m", "offerrank", "recalibrate", *options]


def test_the_command_says_what_it_did(command: list[str], releases: Path) -> None:
    first, again = (
        subprocess.run([*command, "--window", "2h"], capture_output=True, text=True, timeout=120, check=True) for _ in range(2)
    )
    ctr, cvr, published = first.stdout.splitlines()
    newest = versions(releases)[-1]
    assert ctr.startswith("ctr: log loss 0.")
    assert cvr.endswith("latest rows, stays as it was")
    assert published == f"release {releases / str(newest)}"
    assert len(again.stdout.splitlines()) == 1
    assert again.stdout.startswith(f"release {newest} stays, no calibration would be better: ctr: log loss 0.")
