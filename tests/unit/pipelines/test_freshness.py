"""When a training goes on from the newest release, and when it begins anew."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.errors import ContractError
from features.market import Market, parse_market
from models import release
from models.calibration import Calibrator, TaskCalibration
from models.release import FinalLabels
from pipelines.freshness import release_to_continue
from pipelines.recalibration import newest_release
from tests.unit.pipelines.conftest import MARKET, MakeMarket

HOUR_MS, DAY_S = 3_600_000, 86_400
FULL_MS = 1_000 * HOUR_MS


@pytest.fixture
def market(make_market: MakeMarket) -> Market:
    return make_market()


def write_release(releases: Path, market: Market, version: int, **origin: Any) -> None:
    """A sealed release whose model is a few bytes."""
    folder = releases / str(version)
    for name in (*release.REQUIRED, release.WEIGHTS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    specs = release.FeatureSpecs.of(market)
    (folder / release.FEATURE_SPEC).write_text(specs.model_dump_json())
    (folder / release.CALIBRATOR).write_text(
        Calibrator(tasks={t.name: TaskCalibration() for t in market.tasks}).model_dump_json()
    )
    np.savez(folder / release.OFFERS, ids=np.array(["o"]), embeddings=np.eye(1, 2, dtype=np.float32))
    manifest = release.Manifest(
        **{"trained_through_ms": FULL_MS, "labels": FinalLabels.of(market, FULL_MS), "rows": {"train": 1}} | origin,
        version=version,
        market=market.name,
        created_ms=FULL_MS,
        inputs=release.inputs_of(market),
        tasks=tuple(t.name for t in market.tasks),
        embedding_dim=2,
        packages={},
    )
    release.seal(folder, manifest)


def test_it_goes_on_from_the_newest_release(market: Market, tmp_path: Path) -> None:
    write_release(tmp_path, market, 9)
    write_release(tmp_path, market, 10)
    found, why = release_to_continue(market, tmp_path, FULL_MS + HOUR_MS, DAY_S)
    assert found is not None
    assert found.version == 10
    assert why == "release 10 goes on from what it has learned"


def test_a_newest_release_that_is_not_whole_is_no_release_here_either(market: Market, tmp_path: Path) -> None:
    write_release(tmp_path, market, 9)
    write_release(tmp_path, market, 10)
    (tmp_path / "10" / release.WEIGHTS).unlink()  # it is still being copied, say
    found, _ = release_to_continue(market, tmp_path, FULL_MS + HOUR_MS, DAY_S)
    assert found is not None
    assert found.version == 9
    assert newest_release(tmp_path).version == 9
    (tmp_path / "9" / release.CALIBRATOR).unlink()
    assert release_to_continue(market, tmp_path, FULL_MS, DAY_S)[1].endswith("10/assets.extra/weights.npz: no such file")
    with pytest.raises(ContractError, match=r"10/assets\.extra/weights\.npz: no such file"):
        newest_release(tmp_path)


def test_without_a_release_it_begins_anew(market: Market, tmp_path: Path) -> None:
    assert release_to_continue(market, tmp_path / "none", FULL_MS, DAY_S) == (None, "there is no release yet")


def test_a_full_training_is_due_by_the_age_of_the_last_one_not_of_the_last_release(market: Market, tmp_path: Path) -> None:
    write_release(tmp_path, market, 9, warm_from=8, full_ms=FULL_MS - 23 * HOUR_MS)
    assert release_to_continue(market, tmp_path, FULL_MS + HOUR_MS - 1, DAY_S)[0] is not None
    assert release_to_continue(market, tmp_path, FULL_MS + HOUR_MS, DAY_S) == (None, "the last full training was 24.0 h ago")


def test_each_training_is_full_where_that_is_asked_for(market: Market, tmp_path: Path) -> None:
    write_release(tmp_path, market, 9)
    assert release_to_continue(market, tmp_path, FULL_MS, 0)[0] is None


CHANGES: dict[str, dict[str, Any]] = {
    "features": {"features": MARKET["features"][1:]},
    "crosses": {"crosses": [{"features": [f["name"] for f in MARKET["features"][:2]], "hash_buckets": 9}]},
    "tasks": {"tasks": MARKET["tasks"][:-1]},
}


@pytest.mark.parametrize("key", CHANGES)
def test_other_features_crosses_or_tasks_begin_anew(market: Market, tmp_path: Path, key: str) -> None:
    write_release(tmp_path, market, 9)
    other = parse_market(MARKET | CHANGES[key])
    found, why = release_to_continue(other, tmp_path, FULL_MS, DAY_S)
    assert found is None
    assert why == "release 9 was trained for other features, crosses or tasks than the market now has"


def test_other_offers_campaigns_and_network_do_not(market: Market, tmp_path: Path) -> None:
    write_release(tmp_path, market, 9)
    offers = [*MARKET["offers"], MARKET["offers"][0] | {"id": "new"}]
    other = parse_market(MARKET | {"offers": offers, "model": {"hidden_units": [7]}})
    assert release_to_continue(other, tmp_path, FULL_MS, DAY_S)[0] is not None


def test_a_release_of_other_rows_than_the_logs_says_so(market: Market, tmp_path: Path) -> None:
    write_release(tmp_path, market, 9, trained_through_ms=None)
    assert release_to_continue(market, tmp_path, FULL_MS, DAY_S) == (None, "release 9 was not trained on the log")


@pytest.mark.parametrize(
    "training",
    [{"click_window_s": 60}, {"conversion_window_s": 60}, {"delayed_labels": "ignore"}, {"delayed_labels": "importance"}],
)
def test_labels_by_other_windows_begin_anew(
    market: Market, make_market: MakeMarket, tmp_path: Path, training: dict[str, Any]
) -> None:
    write_release(tmp_path, market, 9)
    found, why = release_to_continue(make_market(**training), tmp_path, FULL_MS, DAY_S)
    assert found is None
    assert why == "release 9 learned from labels by other windows, or by another training.delayed_labels"


def test_a_release_that_does_not_say_which_labels_were_final_took_them_as_known(
    market: Market, make_market: MakeMarket, tmp_path: Path
) -> None:
    write_release(tmp_path, market, 9, labels=None)
    assert release_to_continue(market, tmp_path, FULL_MS, DAY_S)[0] is None
    assert release_to_continue(make_market(delayed_labels="ignore"), tmp_path, FULL_MS, DAY_S)[0] is not None


def test_a_damaged_release_is_named_and_passed_over(market: Market, tmp_path: Path) -> None:
    write_release(tmp_path, market, 9)
    (tmp_path / "9" / release.WEIGHTS).write_bytes(b"other")
    found, why = release_to_continue(market, tmp_path, FULL_MS, DAY_S)
    assert found is None
    assert release.WEIGHTS in why
