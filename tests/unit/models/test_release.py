import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_market import RAW

from domain.errors import ContractError, IncompleteRelease
from features.market import Market, parse_market
from models import release
from models.calibration import Calibrator, Platt, TaskCalibration
from models.release import Manifest, Release, inputs_of, load_release, next_version, seal, versions
from models.release_folder import Newest, newest_usable

VERSION = 1_700_000_000


@pytest.fixture
def market() -> Market:
    return parse_market(RAW)


def manifest(market: Market) -> Manifest:
    return Manifest(
        version=VERSION,
        market=market.name,
        created_ms=1,
        inputs=inputs_of(market),
        tasks=("ctr",),
        embedding_dim=2,
        rows={"train": 1},
        packages={},
    )


@pytest.fixture
def folder(market: Market, tmp_path: Path) -> Path:
    """A sealed release, its model a few bytes."""
    folder = tmp_path / "releases" / str(VERSION)
    for name in release.REQUIRED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    specs = release.FeatureSpecs.of(market)
    (folder / release.FEATURE_SPEC).write_text(specs.model_dump_json())
    (folder / release.CALIBRATOR).write_text(Calibrator(tasks={"ctr": TaskCalibration(curve=Platt(slope=0.5))}).model_dump_json())
    np.savez(folder / release.OFFERS, ids=np.array(["o"]), embeddings=np.eye(1, 2, dtype=np.float32))
    seal(folder, manifest(market))
    return folder


def reseal(folder: Path) -> None:
    """As if the release had been made like this."""
    seal(folder, Manifest.model_validate_json((folder / release.MANIFEST).read_bytes()))


def test_what_was_sealed_is_loaded(folder: Path, market: Market) -> None:
    loaded = load_release(folder)
    assert (loaded.version, loaded.offer_ids, loaded.path) == (VERSION, ("o",), folder)
    assert loaded.calibrator.tasks["ctr"].curve == Platt(slope=0.5)
    assert loaded.specs.features == market.features
    assert set(loaded.manifest.files) == set(release.REQUIRED)


@pytest.mark.parametrize("name", release.REQUIRED)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ContractError, match=f"{name}: no such file"):
        load_release(folder)
    with pytest.raises(ContractError, match=f"{name}: missing from the release"):
        reseal(folder)


@pytest.mark.parametrize("name", release.REQUIRED)
def test_a_changed_file_is_named(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ContractError, match=f"{name}: content differs"):
        load_release(folder)
    (folder / name).write_bytes(content + b" ")
    with pytest.raises(ContractError, match=f"{name}: has {len(content) + 1} bytes"):
        load_release(folder)


def test_a_release_that_was_made_wrong_is_refused_too(folder: Path) -> None:
    (folder / release.CALIBRATOR).write_text(json.dumps({"tasks": {"ctr": {"curve": {"kind": "platt", "slope": -1}}}}))
    reseal(folder)
    with pytest.raises(ContractError, match=r"calibrator.json: tasks.ctr.curve.platt.slope: expected a number above 0"):
        load_release(folder)
    (folder / release.CALIBRATOR).write_text(json.dumps({"tasks": {}}))
    reseal(folder)
    with pytest.raises(ContractError, match=r"calibrator.json: no calibration for task 'ctr'"):
        load_release(folder)


def test_offers_that_cannot_be_read_are_named(folder: Path) -> None:
    (folder / release.OFFERS).write_bytes(b"no archive")
    reseal(folder)
    with pytest.raises(ContractError, match=r"offers.npz: cannot be read"):
        load_release(folder)


def test_a_manifest_that_is_no_manifest(folder: Path) -> None:
    (folder / release.MANIFEST).write_text("{")
    with pytest.raises(ContractError, match=r"release.json: content: is not JSON: EOF"):
        load_release(folder)
    (folder / release.MANIFEST).unlink()
    with pytest.raises(ContractError, match=r"release.json: no such file"):
        load_release(folder)


def test_a_manifest_that_forgets_a_file(folder: Path) -> None:
    content = json.loads((folder / release.MANIFEST).read_text())
    del content["files"][release.INDEX]
    (folder / release.MANIFEST).write_text(json.dumps(content))
    with pytest.raises(ContractError, match=r"does not list assets.extra/offers.usearch"):
        load_release(folder)


@pytest.mark.parametrize("name", [release.MANIFEST, *release.REQUIRED])
def test_a_file_of_which_a_part_has_come_makes_it_incomplete_not_wrong(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    for part in (content[:-3], b""):
        (folder / name).write_bytes(part)
        with pytest.raises(IncompleteRelease, match=Path(name).name):
            load_release(folder)
    (folder / name).unlink()
    with pytest.raises(IncompleteRelease, match=f"{name}: no such file"):
        load_release(folder)


def test_the_newest_usable_release_is_found_behind_damaged_ones(folder: Path, market: Market) -> None:
    base = folder.parent
    assert newest_usable(base, market).release == load_release(folder)
    for version, name in ((VERSION + 1, release.CALIBRATOR), (VERSION + 2, release.MANIFEST)):
        copy = shutil.copytree(folder, base / str(version))
        manifest_of = Manifest.model_validate_json((copy / release.MANIFEST).read_bytes())
        seal(copy, manifest_of.model_copy(update={"version": version}))
        (copy / name).write_bytes((copy / name).read_bytes()[:-9])
    found = newest_usable(base, market)
    assert found.release is not None
    assert found.release.version == VERSION
    assert [str(VERSION + 2) in str(e) for e in found.passed_over] == [True, False]
    other = newest_usable(base, parse_market(RAW | {"name": "other"}))
    assert other.release is None
    assert "was trained for market 'small'" in str(other.passed_over[-1])
    assert newest_usable(base / "absent") == Newest(None, ())


def test_the_folder_is_named_by_the_version(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no such release folder"):
        load_release(tmp_path / "7")
    with pytest.raises(ContractError, match=f"is of version {VERSION}, the folder is '8'"):
        load_release(folder.rename(folder.parent / "8"))


DIFFERENT = {
    "another market": ({"name": "other"}, "was trained for market 'small', not 'other'"),
    "a feature less": ({"features": RAW["features"][1:]}, "takes feature 'city', which the market no longer has"),
    "a feature more": (
        {"features": [*RAW["features"], {"name": "age", "source": "shopper", "dtype": "int", "default": 0}]},
        "does not know feature 'age'",
    ),
    "missing is a state": (
        {"features": [{"name": "city", "source": "context", "missing": "own"}, RAW["features"][1]]},
        "takes feature 'city' as context string, the market says context string, or missing: train again",
    ),
    "another dtype": (
        {"features": [{"name": "city", "source": "context", "dtype": "int", "default": 0}, RAW["features"][1]]},
        "takes feature 'city' as context string, the market says context int",
    ),
    "another source": (
        {"features": [RAW["features"][0] | {"source": "shopper"}, RAW["features"][1]]},
        "takes feature 'city' as context string, the market says shopper string",
    ),
    "another task": (
        {
            "tasks": [{"name": "ctr", "label": "click"}, {"name": "cvr", "label": "conversion", "given": "click"}],
            "policy": {"id": "p", "priors": {"ctr": 0.1, "cvr": 0.1}},
        },
        r"predicts \['ctr'\], the market asks for \['ctr', 'cvr'\]",
    ),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_a_release_does_not_serve_a_market_it_was_not_trained_for(folder: Path, case: str) -> None:
    change, message = DIFFERENT[case]
    with pytest.raises(ContractError, match=message):
        load_release(folder).compatible_with(parse_market(RAW | change))


def test_offers_bids_and_defaults_may_change(folder: Path, market: Market) -> None:
    more = [*RAW["offers"], RAW["offers"][0] | {"id": "o2"}]
    features = [RAW["features"][0] | {"default": "elsewhere"}, RAW["features"][1]]
    loaded = load_release(folder)
    assert isinstance(loaded.compatible_with(parse_market(RAW | {"offers": more, "features": features})), Release)
    assert loaded.compatible_with(market) is loaded


def test_versions_are_the_numbered_folders_oldest_first(tmp_path: Path) -> None:
    for name in ("10", "9", ".partial-11-5", "latest", "²"):
        (tmp_path / name).mkdir()
    (tmp_path / "12").write_text("a file")
    assert versions(tmp_path) == [9, 10]
    assert versions(tmp_path / "absent") == []


def test_the_next_version_is_the_time_unless_a_clock_ran_ahead(tmp_path: Path) -> None:
    assert next_version(tmp_path, now_s=100) == 100
    (tmp_path / "100").mkdir()
    assert next_version(tmp_path, now_s=100) == 101
    assert next_version(tmp_path, now_s=102) == 102


def test_prediction_columns_cannot_be_mistaken_for_features() -> None:
    assert (release.raw_column("ctr"), release.calibrated_column("ctr")) == ("raw.ctr", "calibrated.ctr")
