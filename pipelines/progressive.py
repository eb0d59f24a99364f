"""What a progressive pass leaves for the components after it: scores by row, and calibrations that move on as it does.

Rows are known by their number, since Beam gives them back in an order of its own.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from domain.errors import ContractError
from features.market import Market
from features.spec import LOG_ROW, MISSING, VALUE_MICROS
from models import release
from models.calibration import Calibrator
from models.release import AHEAD, EXAMINATION, calibrated_column, judged_column, raw_column
from pipelines.calibration import Columns, calibrated, calibrating_columns, fit_calibrator, where_shown

if TYPE_CHECKING:
    from models.progressive import Scores

BLOCKS = 4
"""Parts of the new rows, in order: each is calibrated by what was fitted before it."""
CARRIED = 20_000
"""Rows that the releases before have scored so, the latest of which a calibration goes on from."""


def save_scores(
    path: Path,
    market: Market,
    scored: Mapping[str, tuple[NDArray[np.int64], "Scores"]],
    ahead: NDArray[np.int64] | None = None,
    values: NDArray[np.float32] | None = None,
) -> None:
    """Split -> the numbers of its rows and their scores; and of `eval`, what the towers said of its rows, and the values."""
    arrays: dict[str, NDArray[Any]] = {}
    for split, (number, scores) in scored.items():
        arrays |= {f"{split}/{LOG_ROW}": number, f"{split}/{EXAMINATION}": scores.examination}
        arrays |= {f"{split}/{raw_column(t.name)}": scores.p[:, i] for i, t in enumerate(market.tasks)}
    if ahead is not None:
        arrays[f"eval/{AHEAD}"] = ahead
    if values is not None:
        arrays[f"eval/{raw_column(VALUE_MICROS)}"] = values
    np.savez(path, **arrays)


def scores_of(path: Path, split: str, rows: Columns) -> dict[str, NDArray[Any]]:
    """What `pipelines.scoring.score` says of rows, but as they were scored in the pass.

    Args:
      rows: of the split, in any order.
    """
    return by_row(path, rows, f"{split}/")


def by_row(path: Path, rows: Columns, prefix: str = "") -> dict[str, NDArray[Any]]:
    """Columns of an npz that were saved with the numbers of their rows, in the order of `rows`."""
    with np.load(path, allow_pickle=False) as saved:
        found = {name.removeprefix(prefix): saved[name] for name in saved.files if name.startswith(prefix)}
    number = found.pop(LOG_ROW)
    order = np.argsort(number)
    at = order[np.minimum(np.searchsorted(number[order], rows[LOG_ROW]), len(number) - 1)]
    if (wrong := np.flatnonzero(number[at] != rows[LOG_ROW])).size:
        raise ContractError(f"{path}: expected every row that was judged, row {rows[LOG_ROW][wrong[0]]} is not there")
    return {name: column[at] for name, column in found.items()}


def calibrate_in_time(
    market: Market, rows: Columns, before: Columns | None, former: Calibrator | None
) -> tuple[Calibrator, dict[str, NDArray[np.float64]]]:
    """A calibrator for what comes, and rows as they were calibrated by what came before them.

    Args:
      rows: [N], with their scores where they were shown.
      before: earlier ones, if any.
      former: what calibrates a task while there are no rows for it.
    Returns:
      the calibrator, fitted to all of them, and `calibrated.<task>` -> [N].
    """
    rows = calibrating_columns(market, rows, former)
    order = np.argsort(rows["time_ms"], kind="stable")
    result = {calibrated_column(t.name): np.zeros(len(order)) for t in market.tasks}
    known: Columns | None = None if before is None else calibrating_columns(market, before, former)
    for block in np.array_split(order, BLOCKS):
        part = {name: column[block] for name, column in rows.items()}
        at_hand = fit_calibrator(market, known if known is not None else _none_of(rows), former)
        for name, p in calibrated(market, at_hand, part).items():
            result[name][block] = p
        known = part if known is None else _joined(known, part)
    assert known is not None
    return fit_calibrator(market, known, former), result


def carried_rows(market: Market, releases: Path, newest: int) -> Columns | None:
    """The latest rows that a release, and those it goes on from, scored before they learned from them, where they were shown."""
    found: Columns | None = None
    version: int | None = newest
    while version is not None and (found is None or len(found["time_ms"]) < CARRIED):
        folder = releases / str(version)
        if not (folder / release.EVAL_PREDICTIONS).is_file():
            break
        part = _scored_rows(market, folder / release.EVAL_PREDICTIONS)
        if part is None:
            break
        found = part if found is None else _joined(part, found)
        version = release.read_manifest(folder).warm_from
    if found is None:
        return None
    latest = np.sort(np.argsort(found["time_ms"], kind="stable")[-CARRIED:])
    return {name: column[latest] for name, column in found.items()}


def _scored_rows(market: Market, path: Path) -> Columns | None:
    table = pq.read_table(path)
    flat = [f.name for f in table.schema if not pa.types.is_list(f.type)]
    columns = {name: pc.fill_null(table[name], MISSING["int"]) if table[name].null_count else table[name] for name in flat}
    rows: dict[str, NDArray[Any]] = {name: column.to_numpy() for name, column in columns.items()}
    if all(judged_column(t.name) in rows for t in market.tasks):
        return rows | {raw_column(t.name): rows[judged_column(t.name)] for t in market.tasks}
    return where_shown(market, rows) if EXAMINATION in rows else None


def _joined(first: Columns, second: Columns) -> Columns:
    return {name: np.concatenate([first[name], second[name]]) for name in first if name in second}


def _none_of(rows: Columns) -> Columns:
    return {name: column[:0] for name, column in rows.items()}
