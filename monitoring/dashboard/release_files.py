"""A folder of releases as its files have it, for people: which data, which gates, how good. docs/training.md lists the files.

Models and pipelines write them and check them in full; here they are read as JSON that may be of another version, or damaged.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from domain.errors import ContractError
from monitoring.dashboard.answers import LATEST_MS
from monitoring.dashboard.statistics import Json

EXTRA: Final = "assets.extra"
MANIFEST, EVALUATION, REPORT = f"{EXTRA}/release.json", f"{EXTRA}/evaluation.json", f"{EXTRA}/report.html"
REFUSED: Final = "refused"
RUN: Final = re.compile(r"\d{13}-\d{1,10}")
LARGEST = 64 * 2**20
"""Bytes of a file that is still read."""
KEPT = 400
_METRICS = ("auc", "log_loss", "pcoc", "normalised_entropy", "ece")
_INTERVALS = ("auc_interval", "log_loss_interval", "pcoc_interval")
_SHOWN = ("market", "created_ms", "rows", "trained_through_ms", "labels", "held_out", "warm_from", "recalibrated_from", "full_ms")
_NUMBERS = ("created_ms", "trained_through_ms", "warm_from", "recalibrated_from", "full_ms")
_Stamp = tuple[int, int]


class ReleaseFiles:
    """One folder; what was read of a release is kept while its files stay as they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: OrderedDict[int, tuple[tuple[_Stamp, _Stamp], Json]] = OrderedDict()

    def versions(self) -> list[int]:
        """Newest first; what is not a number is not a release."""
        if not self.folder.is_dir():
            return []
        found = (path.name for path in self.folder.iterdir() if path.name.isascii() and path.name.isdecimal() and path.is_dir())
        return sorted((int(name) for name in found if len(name) < 19 and str(int(name)) == name), reverse=True)

    def described(self, version: int) -> Json:
        """What is shown of a release in a list; `trouble` says what of it cannot be read, or has not been copied yet."""
        path = self.folder / str(version)
        stamps = (_stamp(path / MANIFEST), _stamp(path / EVALUATION))
        kept = self._kept.get(version)
        if kept is None or kept[0] != stamps:
            kept = (stamps, _described(path, version))
            if not kept[1]["trouble"]:  # what is being copied is looked at anew
                self._kept[version] = kept
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return kept[1] | {"has_report": (path / REPORT).is_file()}

    def evaluation(self, version: int) -> Json:
        """Every task with its metrics, raw and calibrated; gates; the comparison with the release in service of then.

        Raises:
          ContractError: it cannot be read.
        """
        said = _read(self.folder / str(version) / EVALUATION)
        return {
            "tasks": {str(name): _task(task) for name, task in _mapping(said.get("tasks")).items()},
            "gates": [gate for gate in _list(said.get("gates")) if isinstance(gate, dict)],
            "in_service": _rival(said.get("in_service")),
        }

    def inputs(self, version: int) -> Json:
        """What its model takes, and what built it; errors as of `evaluation`."""
        made = _read(self.folder / str(version) / MANIFEST)
        inputs = {str(i["name"]): i for i in _list(made.get("inputs")) if isinstance(i, dict) and "name" in i}
        return {"inputs": inputs, "packages": _mapping(made.get("packages")), "tasks": _list(made.get("tasks"))}

    def report(self, version: int) -> bytes | None:
        """Its report.html, if it has one."""
        return _page(self.folder / str(version) / REPORT)

    def refused_report(self, run: str) -> bytes | None:
        """The report of a model that was refused, by its run's name, if it is kept; pipelines/refused_reports.py keeps it."""
        return _page(self.folder / REFUSED / f"{run}.html") if RUN.fullmatch(run) else None

    def refused_reports(self) -> set[str]:
        """Runs whose report is kept."""
        return {path.stem for path in (self.folder / REFUSED).glob("*.html")}


def _page(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.stat().st_size <= LARGEST else None
    except OSError:
        return None


def _described(path: Path, version: int) -> Json:
    said: Json = {"version": version, "kind": None, "gates": None, "metrics": {}, "trouble": ""}
    try:
        made = _read(path / MANIFEST)
    except ContractError as e:
        return said | dict.fromkeys(_SHOWN) | {"trouble": str(e)}
    said |= {name: made.get(name) for name in _SHOWN}
    said |= {name: _whole(made.get(name)) for name in _NUMBERS}
    said["rows"] = {str(split): n for split, n in _mapping(made.get("rows")).items() if _whole(n) is not None}
    recalibrated, warm = said["recalibrated_from"], said["warm_from"]
    said["kind"] = "recalibration" if recalibrated is not None else "incremental" if warm is not None else "full"
    said["went_on_from"] = recalibrated if recalibrated is not None else warm
    said["trouble"] = _not_there(path, _mapping(made.get("files")))
    try:
        evaluation = _read(path / EVALUATION)
    except ContractError as e:
        return said | {"trouble": said["trouble"] or str(e)}
    gates = [gate for gate in _list(evaluation.get("gates")) if isinstance(gate, dict)]
    verdicts = [gate.get("verdict") for gate in gates]
    said["gates"] = {verdict: verdicts.count(verdict) for verdict in ("passed", "failed", "skipped")}
    for name, task in _mapping(evaluation.get("tasks")).items():
        said["metrics"][str(name)] = _numbers(_mapping(_mapping(task).get("calibrated")), ("auc", "log_loss", "pcoc"))
    return said


def _task(task: Any) -> Json:
    told = _mapping(task)
    shown = {
        kind: _numbers(_mapping(told.get(kind)), _METRICS) | _intervals(_mapping(told.get(kind)))
        for kind in ("raw", "calibrated")
    }
    return {"rows": _whole(told.get("rows")), "positives": _whole(told.get("positives"))} | shown


def _numbers(said: Json, names: Iterable[str]) -> Json:
    return {name: said[name] if isinstance(said.get(name), float | int) else None for name in names}


def _intervals(said: Json) -> Json:
    found = {name: _list(said.get(name)) for name in _INTERVALS}
    return {n: two if len(two) == 2 and all(isinstance(x, float | int) for x in two) else None for n, two in found.items()}


def _rival(in_service: Any) -> Json | None:
    if not isinstance(in_service, dict):
        return None
    tasks = {str(name): _mapping(rival).get("change") for name, rival in _mapping(in_service.get("tasks")).items()}
    return {"version": in_service.get("version"), "note": in_service.get("note", ""), "changes": tasks}


def _not_there(path: Path, files: Mapping[str, Any]) -> str:
    """Says which file is missing or not whole, as while a release is copied."""
    for name, record in files.items():
        try:
            size = (path / name).stat().st_size
        except (OSError, ValueError):
            return f"{name} is not there"
        if size != _mapping(record).get("bytes"):
            return f"{name} is not whole"
    return ""


def _stamp(path: Path) -> _Stamp:
    try:
        stat = path.stat()
    except OSError:
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_size)


def _read(path: Path) -> Json:
    try:
        if path.stat().st_size > LARGEST:
            raise ContractError(f"{path.name} is larger than {LARGEST >> 20} MiB")
        said = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise ContractError(f"{path.name} is not there") from None
    except OSError as e:
        raise ContractError(f"{path.name} cannot be read: {e.strerror}") from None
    except orjson.JSONDecodeError as e:
        raise ContractError(f"{path.name} is damaged: {e}") from None
    if not isinstance(said, dict):
        raise ContractError(f"{path.name} is damaged: expected an object, got {type(said).__name__}")
    return said


def _whole(said: Any) -> int | None:
    """A version or a time, of which a browser can make something."""
    return said if isinstance(said, int) and 0 <= said <= LATEST_MS else None


def _mapping(said: Any) -> Json:
    return said if isinstance(said, dict) else {}


def _list(said: Any) -> list[Any]:
    return said if isinstance(said, list) else []
