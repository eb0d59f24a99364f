"""Which calibrators are suspected where probabilities differ."""

from dataclasses import replace
from pathlib import Path

from small_market import RAW

from features.market import parse_market
from models.calibration import Calibrator, TaskCalibration
from models.calibration.curves import Platt
from models.calibration.slices import SliceShifts
from models.release import CALIBRATOR, FeatureSpecs, Manifest, Release, inputs_of
from offerrank.skew import other_calibrators

MARKET = parse_market(RAW)


def calibrator(intercept: float, task: str = "ctr", **slices: SliceShifts) -> Calibrator:
    return Calibrator(tasks={task: TaskCalibration(curve=Platt(intercept=intercept), slices=slices)})


def test_those_of_other_releases_in_the_folder_and_none_at_all(tmp_path: Path) -> None:
    own = calibrator(0.5)
    folder = {
        1: calibrator(0.1).model_dump_json(),
        2: own.model_dump_json(),  # a release that took it over
        3: calibrator(0.3, task="opened").model_dump_json(),
        4: calibrator(0.4, former_feature=SliceShifts(precision=1.0, shift={"x": 0.1})).model_dump_json(),
        5: "{damaged",
        6: own.model_dump_json(),
    }
    for version, text in folder.items():
        path = tmp_path / str(version) / CALIBRATOR
        path.parent.mkdir(parents=True)
        path.write_text(text)
    made = Manifest(
        version=6, market="small", created_ms=1, inputs=inputs_of(MARKET), tasks=("ctr",), embedding_dim=2, rows={}, packages={}
    )
    release = Release(6, tmp_path / "6", made, own, FeatureSpecs.of(MARKET), ())
    assert other_calibrators(MARKET, release).keys() == {"not calibrated", "calibrated as release 1"}
    uncalibrated = replace(release, calibrator=calibrator(0.0))
    assert "not calibrated" not in other_calibrators(MARKET, uncalibrated)
