"""A release that is whole, but for the network itself, which only the model server reads."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from features.market import Market
from models import release as layout
from models.calibration import Calibrator, Platt, TaskCalibration
from models.examination import ExaminationCurve
from models.release import Manifest, inputs_of, seal
from retrieval.index import build_index


def write_release(
    base: Path,
    version: int,
    market_file: Path,
    market: Market,
    examination: ExaminationCurve | None = None,
    save: Callable[[Path], object] = lambda _: None,
) -> Path:
    """Whole, beside its folder first, then in one rename.

    Args:
      save: puts a network into the folder, before it is sealed.
    """
    folder = base / f".{version}"
    for name in layout.REQUIRED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"stands for the real one")
    save(folder)
    (folder / layout.MARKET).write_bytes(market_file.read_bytes())
    (folder / layout.EVALUATION).write_text("{}")
    calibration = TaskCalibration(curve=Platt(slope=1.1))
    (folder / layout.CALIBRATOR).write_text(Calibrator(tasks={t.name: calibration for t in market.tasks}).model_dump_json())
    specs = layout.FeatureSpecs.of(market)
    (folder / layout.FEATURE_SPEC).write_text(specs.model_dump_json())
    build_index([o.id for o in market.offers], np.eye(len(market.offers), dtype=np.float32)).save(folder / layout.EXTRA)
    seal(
        folder,
        Manifest(
            version=version,
            market=market.name,
            created_ms=1,
            inputs=inputs_of(market),
            tasks=tuple(t.name for t in market.tasks),
            embedding_dim=len(market.offers),
            rows={"train": 1, "valid": 1, "eval": 1},
            packages={},
            examination=examination,
        ),
    )
    return folder.rename(base / str(version))
