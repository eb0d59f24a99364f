"""A release: everything one model version brings to serving, in one folder named by its version, never changed.

    <base>/<version>/
      saved_model.pb, variables/, assets/   for the model server
      assets.extra/                         for everyone else; the file names are below

TensorFlow-free, because the gateway reads releases. The nearest-neighbour index in `offers.usearch` is read by retrieval.
"""

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from domain.errors import ContractError, IncompleteRelease
from domain.refusals import first_refusal
from features.market import Market
from features.model_spec import TaskSpec
from features.spec import CrossSpec, DType, FeatureSpec, Missing, Record, Source
from models.calibration import Calibrator
from models.examination import ExaminationCurve

EXTRA = "assets.extra"
MANIFEST = f"{EXTRA}/release.json"
REPORT = f"{EXTRA}/report.html"
CALIBRATOR = f"{EXTRA}/calibrator.json"
RECALIBRATION = f"{EXTRA}/recalibration.json"
FEATURE_SPEC = f"{EXTRA}/feature_spec.json"
EVALUATION = f"{EXTRA}/evaluation.json"
EVAL_PREDICTIONS = f"{EXTRA}/eval_predictions.parquet"
OFFERS = f"{EXTRA}/offers.npz"
INDEX = f"{EXTRA}/offers.usearch"
STATISTICS = f"{EXTRA}/statistics/FeatureStats.pb"
MARKET = f"{EXTRA}/market.toml"
HISTORY = f"{EXTRA}/history.json"
WARMUP = f"{EXTRA}/tf_serving_warmup_requests"
WEIGHTS = f"{EXTRA}/weights.npz"
DELAYS = f"{EXTRA}/delay_weights.npz"
TRANSFORM = f"{EXTRA}/transform"
WARM_START = f"{EXTRA}/warm_start.json"
PROGRESSIVE = f"{EXTRA}/progressive.npz"
"""Of a model that is no release yet: what it said of rows before it learned from them."""
AHEAD = "retrieval.ahead"
"""Column of rows: offers of the catalogue that are nearer to the request than the row's own; -1 where that was not looked up."""
EXAMINATION = "examination"
"""Output and column: P(seen at the row's position) over that at the first."""
SAVED_MODEL = "saved_model.pb"
REQUIRED = (
    *(SAVED_MODEL, CALIBRATOR, FEATURE_SPEC, EVALUATION, EVAL_PREDICTIONS),
    *(OFFERS, INDEX, STATISTICS, MARKET, WARMUP, HISTORY),
)


def raw_column(task: str) -> str:
    """Column of eval_predictions.parquet with the model's own probability; the dot keeps it apart from features."""
    return f"raw.{task}"


def calibrated_column(task: str) -> str:
    """Column of eval_predictions.parquet with the calibrated probability."""
    return f"calibrated.{task}"


def judged_column(task: str) -> str:
    """Column of eval_predictions.parquet with what the model said of a row, where it was shown, before it learned from it."""
    return f"judged.{task}"


class FileRecord(Record):
    """A file as it was when the release was sealed."""

    bytes: int
    sha256: str


class Input(Record):
    """One input tensor of the model."""

    name: str
    source: Source
    dtype: DType
    missing: Missing = "default"
    width: int | None = None
    """[N, width] instead of [N]."""

    def __str__(self) -> str:
        several = f" [{self.width}]" if self.width else ""
        return f"{self.source} {self.dtype}{several}" + (", or missing" if self.missing == "own" else "")


class FinalLabels(Record):
    """Which labels of the event log were final: those whose windows had closed."""

    as_of_ms: int
    """When: what became final later has not been learned from."""
    click_window_s: int
    conversion_window_s: int
    importance: bool = False
    """Whether clicks enter before their conversions are final, with importance weights."""
    waiting: dict[str, int] = Field(default={})
    """Label -> as of when it was learned from, where that is longer ago: what came since was too little to judge by."""

    def learned_ms(self, label: str) -> int:
        """As of when a label was learned from."""
        return self.waiting.get(label, self.as_of_ms)

    @classmethod
    def of(cls, market: Market, as_of_ms: int) -> Self | None:
        """By a market's windows; none where it does not wait for them."""
        spec = market.training
        if spec.delayed_labels == "ignore":
            return None
        return cls(
            as_of_ms=as_of_ms,
            click_window_s=spec.click_window_s,
            conversion_window_s=spec.conversion_window_s,
            importance=spec.delayed_labels == "importance",
        )


class LeftOut(Record):
    """Labels of some time that nobody believes, and that are not learned from."""

    label: str
    from_ms: int
    """Of decisions since then."""
    until_ms: int
    """And before then."""
    why: str


def left_out(time_ms: NDArray[np.int64], label: str, spans: Sequence[LeftOut]) -> NDArray[np.bool_]:
    """[R], rows decided in a time whose labels are left out."""
    found = np.zeros(len(time_ms), bool)
    for span in (span for span in spans if span.label == label):
        found |= (time_ms >= span.from_ms) & (time_ms < span.until_ms)
    return found


class Origin(Record):
    """What a release learned from."""

    rows: dict[str, int]
    """Rows per split."""
    progressive: bool = False
    """Whether rows of `eval` were scored first and then learned from, instead of being held out."""
    left_out: tuple[LeftOut, ...] = ()
    """What it, and the releases before it, did not learn from, since the release in service did not believe it."""
    trained_through_ms: int | None = None
    """Time of the newest logged decision that it or the releases before it learned from; none for rows from elsewhere."""
    labels: FinalLabels | None = None
    """Which labels it or the releases before it learned from; none where labels were taken as known."""
    held_out: str | None = None
    """How every training that it goes back to held rows out by hash, always the same ones; none for another split."""
    warm_from: int | None = None
    """Version whose weights it started from; none for a full training."""
    full_ms: int | None = None
    """When the full training was that its weights go back to; its own `created_ms` if none."""


class WarmStart(Record):
    """warm_start.json: what a release took over from the one before it."""

    taken: tuple[str, ...]
    """Weights that were taken over."""
    fresh: tuple[str, ...]
    """Weights that started anew, since there were none of that name and shape."""
    new_entries: dict[str, int]
    """Feature -> entries its vocabulary gained."""


class Manifest(Origin):
    """release.json: what the release is for, and a digest of every other file."""

    format: Literal[1] = 1
    version: int = Field(gt=0)
    market: str
    created_ms: int
    inputs: tuple[Input, ...]
    tasks: tuple[str, ...]
    """Outputs, in the market's order."""
    embedding_dim: int
    packages: dict[str, str]
    """Versions of what built it."""
    recalibrated_from: int | None = None
    """The trained release whose model this is, with a calibrator fitted since; none for one that was trained."""
    examination: ExaminationCurve | None = None
    """What the auction takes of a click's worth further down the page; none without a bias tower."""
    files: dict[str, FileRecord] = Field(default={})
    """Relative path -> digest; all files but this one."""


class FeatureSpecs(Record):
    """feature_spec.json: features, their crosses and tasks as they were at training time."""

    features: tuple[FeatureSpec, ...]
    crosses: tuple[CrossSpec, ...] = ()
    tasks: tuple[TaskSpec, ...]
    value: bool = False
    """Whether it also says what a conversion is worth."""

    @classmethod
    def of(cls, market: Market) -> Self:
        """Those of a market."""
        return cls(features=market.features, crosses=market.crosses, tasks=market.tasks, value=market.value is not None)


@dataclass(frozen=True, slots=True)
class Release:
    """A checked release. The index is loaded apart, by `retrieval.index.load_index(release.path / EXTRA)`."""

    version: int
    path: Path
    manifest: Manifest
    calibrator: Calibrator
    specs: FeatureSpecs
    offer_ids: tuple[str, ...]
    """Offers of the index, in its order."""

    def compatible_with(self, market: Market) -> Self:
        """This release, if it can serve that market: the same inputs and tasks. Offers, bids and policy may differ.

        Raises:
          ContractError: names the first feature or task that differs.
        """
        where = f"release {self.version}"
        if self.manifest.market != market.name:
            raise ContractError(f"{where} was trained for market {self.manifest.market!r}, not {market.name!r}")
        trained = {i.name: i for i in self.manifest.inputs}
        wanted = {i.name: i for i in inputs_of(market)}
        for name in sorted(trained.keys() | wanted.keys()):
            if name not in wanted:
                raise ContractError(f"{where} takes feature {name!r}, which the market no longer has: train again")
            if name not in trained:
                raise ContractError(f"{where} does not know feature {name!r} of the market: train again")
            if trained[name] != wanted[name]:
                was, now = trained[name], wanted[name]
                raise ContractError(f"{where} takes feature {name!r} as {was}, the market says {now}: train again")
        tasks = tuple(t.name for t in market.served_tasks)
        if self.manifest.tasks != tasks:
            raise ContractError(f"{where} predicts {list(self.manifest.tasks)}, the market asks for {list(tasks)}: train again")
        return self


def inputs_of(market: Market) -> tuple[Input, ...]:
    """The model inputs a market calls for."""
    return tuple(
        Input(name=t.name, source=f.source, dtype=t.dtype, missing=f.missing, width=t.width)
        for f in market.features
        for t in f.tensors
    )


def versions(base: Path) -> list[int]:
    """Versions under a releases folder, oldest first; what is not a number is not a release."""
    if not base.is_dir():
        return []
    return sorted(int(p.name) for p in base.iterdir() if p.name.isascii() and p.name.isdecimal() and p.is_dir())


def next_version(base: Path, now_s: int) -> int:
    """Unix seconds, or one more than the newest version where a clock ran ahead."""
    return max([now_s, *(version + 1 for version in versions(base))])


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Writes release.json with a digest of every file in `folder`: the last step of assembling a release.

    Raises:
      ContractError: a required file is missing.
    """
    for name in REQUIRED:
        if not (folder / name).is_file():
            raise ContractError(f"{folder / name}: missing from the release")
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)
    files = {p.relative_to(folder).as_posix(): FileRecord(bytes=p.stat().st_size, sha256=_digest(p)) for p in paths}
    sealed = manifest.model_copy(update={"files": files})
    (folder / MANIFEST).write_text(sealed.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return sealed


def load_release(path: Path) -> Release:
    """Reads `<base>/<version>` and checks every file against its digest.

    Raises:
      IncompleteRelease: names the file that is missing, or not of the size it was sealed with.
      ContractError: names the file that is changed or malformed, and how.
    """
    if not path.is_dir():
        raise ContractError(f"{path}: no such release folder")
    manifest = read_manifest(path)
    if not path.name.isdecimal() or int(path.name) != manifest.version:
        raise ContractError(f"{path / MANIFEST}: is of version {manifest.version}, the folder is {path.name!r}")
    for name in REQUIRED:
        if name not in manifest.files:
            raise ContractError(f"{path / MANIFEST}: does not list {name}")
    expect_all_files(path, manifest)
    for name, record in manifest.files.items():
        _verify(path / name, record)
    calibrator = _read(path / CALIBRATOR, Calibrator)
    for task in manifest.tasks:
        if task not in calibrator.tasks:
            raise ContractError(f"{path / CALIBRATOR}: no calibration for task {task!r}")
    return Release(
        version=manifest.version,
        path=path,
        manifest=manifest,
        calibrator=calibrator,
        specs=_read(path / FEATURE_SPEC, FeatureSpecs),
        offer_ids=_offer_ids(path / OFFERS),
    )


def read_manifest(folder: Path) -> Manifest:
    """The release.json of a release.

    Raises:
      IncompleteRelease: it is not there, or a part of one.
      ContractError: it is malformed.
    """
    return _read(folder / MANIFEST, Manifest)


def expect_all_files(folder: Path, manifest: Manifest) -> None:
    """Looks at sizes only, so that a release that is still being copied costs nothing to look at.

    Raises:
      IncompleteRelease: names the first file that is missing, or of another size.
    """
    for name, record in manifest.files.items():
        path = folder / name
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            raise IncompleteRelease(f"{path}: no such file") from None
        except OSError as e:
            raise ContractError(f"{path}: cannot be read: {e.strerror}") from None
        if size != record.bytes:
            raise IncompleteRelease(f"{path}: has {size} bytes, the release was sealed with {record.bytes}")


Artifact = TypeVar("Artifact", bound=Record)


def _read(path: Path, model: type[Artifact]) -> Artifact:
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise IncompleteRelease(f"{path}: no such file") from None
    except OSError as e:
        raise ContractError(f"{path}: cannot be read: {e.strerror}") from None
    except ValidationError as e:
        wrong = first_refusal(e)
        key = ".".join(str(step) for step in wrong.location) or "content"
        cut_short = e.errors()[0]["type"] == "json_invalid"
        raise (IncompleteRelease if cut_short else ContractError)(f"{path}: {key}: {wrong.sentence}") from None


def _verify(path: Path, record: FileRecord) -> None:
    try:
        digest = _digest(path)
    except OSError as e:
        raise ContractError(f"{path}: cannot be read: {e.strerror}") from None
    if digest != record.sha256:
        raise ContractError(f"{path}: content differs from what the release was sealed with")


def _offer_ids(path: Path) -> tuple[str, ...]:
    try:
        with np.load(path, allow_pickle=False) as offers:
            ids = offers["ids"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as e:
        raise ContractError(f"{path}: cannot be read: {e}") from None
    return tuple(str(i) for i in ids)


def _digest(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
