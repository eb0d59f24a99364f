"""Trainer's entry point: fits the ranker and the towers on Transform's columns, and exports them with Transform's graph."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_transform as tft
from numpy.typing import NDArray

from domain.errors import ContractError
from features.assemble import OfferColumns
from features.market import Market, load_market
from features.spec import LOG_ROW, VALUE_MICROS
from models import release
from models.delay import DelayModel, Stream, with_elapsed
from models.export import ServedModel, pack
from models.fit import Rows, Start, fit_ranker, fit_towers, resume_ranker, resume_towers
from models.legacy_keras import tf
from models.preprocessing import Encoding, encoding_of
from models.progress import Histories, History
from models.progressive import ProgressivePass, Scores, score
from models.ranker import Ensemble
from models.recall import learn_new_clicks
from models.release import Origin
from models.tensors import empty
from models.two_tower import TwoTower
from models.value import Sold, ValueNetwork, fit_value, learn_values, resume_value, value_micros
from models.warm_start import carry_over, load_weights, row_sources, save_weights
from pipelines.examples_io import count_rows, read_files
from pipelines.progress import tell
from pipelines.progressive import save_scores
from pipelines.split_columns import Columns

EVERY_S = 3600.0
"""Between incremental trainings, for importance weights: a click that entered after a longer one counts as after this."""


def run_fn(fn_args: Any) -> None:
    """Called by TFX with a `tfx.components.trainer.fn_args_utils.FnArgs`."""
    market = load_market(Path(fn_args.custom_config["market"]))
    transformed = tft.TFTransformOutput(fn_args.transform_output)
    encoding = encoding_of(market, transformed)
    transform = transformed.transform_features_layer()
    origin = Origin.model_validate_json(Path(fn_args.custom_config["origin"]).read_bytes())
    previous = fn_args.custom_config.get("previous")
    start = TakeOver(market, encoding, Path(previous)) if previous else None

    def rows_of(split: str) -> tuple[Rows, Columns]:
        files = [pattern for pattern in (*fn_args.train_files, *fn_args.eval_files) if f"/Split-{split}/" in pattern]
        return load_rows(market, encoding, transform, files[:1], market.training.keep_negatives if split == "train" else 1.0)

    trained = _anew(market, encoding, rows_of) if start is None else None
    if trained is None or origin.progressive:
        catalogue = encoding.offer.pack(transform(catalogue_of(market)))
        new, columns = in_time(*rows_of("eval"))
        if len(new) != origin.rows["eval"]:
            raise ContractError(f"expected the {origin.rows['eval']:,} rows of eval that were laid out, got {len(new):,}")
        trained = _progressively(market, encoding, new, columns, start, trained, catalogue)
    folder = Path(fn_args.serving_model_dir)
    ServedModel(market, encoding, transform, trained.ranker, trained.towers, trained.value).save(folder)
    # What the components after this one need to judge it, and the next training to start from it.
    (folder / release.EXTRA).mkdir()
    if origin.progressive:
        save_scores(folder / release.PROGRESSIVE, market, trained.scored, trained.ahead, trained.values)
    networks = (*trained.ranker.members, trained.towers, *([trained.value] if trained.value else []))
    save_weights(folder / release.WEIGHTS, networks)
    if trained.delays is not None:
        save_weights(folder / release.DELAYS, trained.delays.networks.members)
    (folder / release.HISTORY).write_text(trained.history.model_dump_json(indent=2) + "\n", encoding="utf-8")
    shutil.copytree(fn_args.transform_output, folder / release.TRANSFORM)
    if start is not None:
        (folder / release.WARM_START).write_text(start.report.model_dump_json(indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Trained:
    """Networks, and what they said of rows that they had not learned from."""

    ranker: Ensemble
    towers: TwoTower
    delays: DelayModel | None
    history: Histories
    scored: dict[str, tuple[NDArray[np.int64], Scores]]
    """Split -> numbers of its rows, and their scores."""
    ahead: NDArray[np.int64] | None = None
    """[N] of the rows of `eval`, what the towers said of those that were wanted."""
    value: ValueNetwork | None = None
    """None where the market asks for no values."""
    values: NDArray[np.float32] | None = None
    """[N] of the rows of `eval`, in micros."""


def _anew(market: Market, encoding: Encoding, rows_of: Callable[[str], tuple[Rows, Columns]]) -> Trained:
    """From fresh weights on `train`, for as many epochs as `valid` gets better."""
    (train, columns), (valid, of_valid) = rows_of("train"), rows_of("valid")
    delays = weigh_entries(market, encoding, train, columns, None)
    ranker, history = fit_ranker(market, encoding, train, valid, tell)
    towers = fit_towers(market, encoding, train, tell)
    value = fit_value(market, encoding, sold(train, columns), sold(valid, of_valid), tell) if market.value else None
    return Trained(ranker, towers, delays, history, {"valid": (of_valid[LOG_ROW], score(ranker, valid))}, value=value)


def sold(rows: Rows, columns: Columns) -> Sold:
    """The conversions among rows whose value is known."""
    micros = columns[VALUE_MICROS]
    known = micros >= 0
    return Sold({name: x[known] for name, x in rows.inputs.items()}, micros[known])


def _progressively(
    market: Market,
    encoding: Encoding,
    new: Rows,
    columns: Columns,
    start: "TakeOver | None",
    fitted: Trained | None,
    catalogue: dict[str, Any],
) -> Trained:
    """One pass over new rows, each of which is scored and then learned; from a release, or from what was fitted anew."""
    if start is not None:
        delays = weigh_entries(market, encoding, new, columns, start)
        ranker, towers = resume_ranker(market, encoding, new, start), resume_towers(market, encoding, new, start)
    else:
        assert fitted is not None
        ranker, towers, delays = fitted.ranker, fitted.towers, fitted.delays
        if delays is not None:
            weigh_by(market, new, columns, delays)
    scores, epoch = ProgressivePass(market, ranker)(new, columns["time_ms"], tell)
    fits = fitted.history.fits if fitted else (History(model="ranker", primary=market.tasks[0].name, epochs=(epoch,)),)
    wanted = np.any([(columns[t.counts_column] == 1) & (new.labels[t.label] == 1) for t in market.served_tasks], axis=0)
    ahead, recall = learn_new_clicks(market, towers, new, wanted, catalogue, tell)
    scored = {**(fitted.scored if fitted else {}), "eval": (columns[LOG_ROW], scores)}
    retrieves = len(market.offers) > market.policy.max_candidates  # else all offers are ranked, and towers of no use
    history = Histories(fits=fits, recall=recall)
    value, values = fitted.value if fitted else None, None
    if market.value is not None:
        value = value or resume_value(market, encoding, new.inputs, start)
        values = value_micros(value, new.inputs)
        learn_values(market, value, sold(new, columns))
    return Trained(ranker, towers, delays, history, scored, ahead if retrieves else None, value, values)


def catalogue_of(market: Market) -> dict[str, Any]:
    """Every offer of the market, as raw tensors."""
    return {name: tf.constant(column) for name, column in OfferColumns.of(market).columns.items()}


def in_time(rows: Rows, columns: Columns) -> tuple[Rows, Columns]:
    """In the order they were decided."""
    order = np.lexsort([columns[LOG_ROW], columns["time_ms"]])
    return rows.take(order), {name: column[order] for name, column in columns.items()}


class TakeOver:
    """Starts networks from the weights of a release, and notes which."""

    def __init__(self, market: Market, encoding: Encoding, previous: Path) -> None:
        vocabularies = tft.TFTransformOutput(str(previous / release.TRANSFORM))
        former = encoding_of(market, vocabularies)
        entries = {
            f"{f.name}:ids" if f.multiple else f"{f.name}:id": vocabularies.vocabulary_size_by_name(f.name) + (f.missing == "own")
            for f in market.features
            if isinstance(f.vocabulary, int)
        }
        groups = zip(former.groups.values(), encoding.groups.values(), strict=True)
        self._tables = [(after, row_sources(before, after, entries)) for before, after in groups]
        self._previous = previous
        self._weights = load_weights(previous / release.WEIGHTS)
        self.report = release.WarmStart(taken=(), fresh=(), new_entries=_gained(former, encoding))

    def __call__(self, model: Any) -> None:
        """Overwrites a network's initial weights."""
        taken, fresh = carry_over(model, self._weights, self._tables)
        self.report = self.report.model_copy(
            update={"taken": (*self.report.taken, *taken), "fresh": (*self.report.fresh, *fresh)}
        )

    def delays(self) -> Start:
        """Overwrites the initial weights of networks of the delay model.

        Raises:
          ContractError: when called with a network: they do not fit, and an hour of rows cannot replace them.
        """
        path = self._previous / release.DELAYS
        weights, ((request, rows), *others) = load_weights(path), self._tables
        tables = [(with_elapsed(request), rows), *others]

        def start(model: Any) -> None:
            _, fresh = carry_over(model, weights, tables)
            if fresh:
                raise ContractError(f"{path}: no longer fits [model]: train in full, with --full-every 0s")

        return start


def weigh_entries(market: Market, encoding: Encoding, train: Rows, columns: Columns, start: TakeOver | None) -> DelayModel | None:
    """Sets the weights of clicks whose conversions are not final, by the delay model of the release before, or fits that.

    Returns:
      what to keep of delays for the next training; none where none are asked for, or the rows do not tell.
    """
    task = market.importance_task
    if task is None:
        return None
    entry_ms, delay_ms = columns[task.entry_column], columns[task.delay_column]
    clicks = np.flatnonzero((entry_ms >= 0) & (train.labels[str(task.given)] == 1))
    if start is None:
        train.weights[task.name] = (entry_ms >= 0).astype(np.float32)
        if not (delay_ms >= 0).any():
            return None
        clicks = np.random.default_rng(market.model.seed).permutation(clicks)
        delay_s = np.where(delay_ms[clicks] >= 0, delay_ms[clicks] / 1000, np.inf)
        rows = Rows({name: x[clicks] for name, x in train.inputs.items()}, {})
        return DelayModel.fit(market, encoding, rows, delay_s, EVERY_S, tell)
    delays = DelayModel.restore(market, encoding, train.inputs, EVERY_S, start.delays())
    weigh_by(market, train, columns, delays)
    return delays


def weigh_by(market: Market, train: Rows, columns: Columns, delays: DelayModel) -> None:
    """Sets the weights of clicks that enter now."""
    task = market.importance_task
    assert task is not None
    entry_ms = columns[task.entry_column]
    clicks = np.flatnonzero((entry_ms >= 0) & (train.labels[str(task.given)] == 1))
    train.weights[task.name] = np.zeros(len(train), np.float32)
    if len(clicks):
        elapsed_s = np.minimum(entry_ms[clicks] / 1000, EVERY_S)
        entered = Stream(clicks, elapsed_s, train.labels[task.label][clicks] == 1)
        train.weights[task.name][clicks] = delays.weights({name: x[clicks] for name, x in train.inputs.items()}, entered)


def _gained(before: Encoding, after: Encoding) -> dict[str, int]:
    sizes = dict(r for group in before.groups.values() for r in group.ranges)
    grown = {column: size - sizes[column] for group in after.groups.values() for column, size in group.ranges}
    return {column.partition(":")[0]: entries for column, entries in grown.items() if entries}


def load_rows(
    market: Market, encoding: Encoding, transform: Any, patterns: list[str], keep_negatives: float = 1.0
) -> tuple[Rows, Columns]:
    """All rows of some files, transformed and packed, in their order; nothing is held twice.

    Args:
      keep_negatives: share of the rows to keep of those whose first label is 0 for sure, drawn by the row's number. What is kept
        stands for the others, too, see `Rows.stands_for`.

    Returns:
      the rows, in the order they were read, and `market.row_columns` but for the position, [N] each.
    """
    first, usable = market.tasks[0].label, market.tasks[0].usable_column
    files = sorted(name for pattern in patterns for name in tf.io.gfile.glob(pattern))
    rng = np.random.default_rng(market.model.seed)
    total = count_rows(files)
    held = _Filled(total)
    for features, others in read_files(files, market):
        drawn = rng.random(len(others[first])) < keep_negatives
        negative = (others[first] == 0) & (others[usable] == 1)
        kept = np.flatnonzero(drawn | ~negative)
        packed = pack(encoding, transform({name: tf.constant(x[kept]) for name, x in features.items()}))
        held.add({f"input {name}": x.numpy() for name, x in packed.items()} | {name: x[kept] for name, x in others.items()})
    columns = held.columns()
    inputs = {name.removeprefix("input "): columns.pop(name) for name in list(columns) if name.startswith("input ")}
    labels = {t.label: columns[t.label].astype(np.float32) for t in market.tasks}
    positions = columns["position"].astype(np.int32) if "position" in columns else None
    weights = {t.name: columns[t.usable_column].astype(np.float32) for t in market.tasks}
    stands_for = None
    if keep_negatives < 1:
        negative = (columns[first] == 0) & (columns[usable] == 1)
        stands_for = (len(negative) / total * np.where(negative, 1 / keep_negatives, 1)).astype(np.float32)
    left = {name: columns[name] for name in market.row_columns if name != "position"}
    return Rows(inputs, labels, positions, weights, stands_for), left


class _Filled:
    """Columns that are filled batch by batch."""

    def __init__(self, at_most: int) -> None:
        self._at_most, self._rows = at_most, 0
        self._columns: dict[str, NDArray[Any]] = {}

    def add(self, batch: dict[str, NDArray[Any]]) -> None:
        """More rows; a column has one shape and type."""
        rows = len(next(iter(batch.values())))
        for name, x in batch.items():
            column = self._columns.setdefault(name, empty((self._at_most, *x.shape[1:]), x.dtype))
            column[self._rows : self._rows + rows] = x
        self._rows += rows

    def columns(self) -> dict[str, NDArray[Any]]:
        """What has been added."""
        return {name: x[: self._rows] for name, x in self._columns.items()}
