"""What must hold for a release to be pushed, of its calibrated probabilities: overall, by slice, against the release in service.

What cannot be judged over all rows is not released, unless the market allows it by name; a slice with too few rows is left out.

All rows are judged by what was measured. A slice, and a difference to another release, is judged by its 95 % interval: it fails
only where the whole of it lies beyond the bound, since among fifty slices some stray by chance.
"""

import operator
from collections.abc import Iterator

from features.model_spec import ValueSpec
from features.training_spec import Gate
from models.evaluation import GateResult, InService, LabelCount, Measured, Rival, TaskEvaluation
from models.metrics import Interval
from models.value_metrics import ValueEvaluation


def check_task(
    task: str, gate: Gate, evaluation: TaskEvaluation, train: LabelCount, in_service: InService | None
) -> tuple[GateResult, ...]:
    """Every bound of a task's gate; `train` counts the training rows."""
    found = check_label_rate(task, gate, train.rows, train.positives)
    found += check_gate(task, gate, evaluation) + check_slices(task, gate, evaluation)
    return found if in_service is None else found + check_increase(task, gate, in_service) + check_recall(task, gate, in_service)


def has_enough(gate: Gate, counted: LabelCount) -> bool:
    """Whether there are enough positives and negatives to judge by."""
    return min(counted.positives, counted.rows - counted.positives) >= gate.min_positives


def check_label_rate(task: str, gate: Gate, rows: int, positives: int) -> tuple[GateResult, ...]:
    """The share of positives among the training rows that count for the task."""
    rate = positives / rows if rows else None
    bounds = [("min_label_rate", gate.min_label_rate, operator.ge), ("max_label_rate", gate.max_label_rate, operator.le)]
    return tuple(
        _result(
            task,
            name,
            "label rate in training",
            rate,
            bound,
            rate is not None and holds(rate, bound),
            skip="" if rows else "no training row counts for the task",
        )
        for name, bound, holds in bounds
        if bound is not None
    )


def check_gate(task: str, gate: Gate, measured: Measured) -> tuple[GateResult, ...]:
    """The absolute bounds over all rows."""
    got = measured.calibrated
    bounds = [
        ("min_auc", "AUC", got.auc, gate.min_auc, operator.ge),
        ("max_log_loss", "calibrated log loss", got.log_loss, gate.max_log_loss, operator.le),
        ("min_pcoc", "calibrated PCOC", got.pcoc, gate.min_pcoc, operator.ge),
        ("max_pcoc", "calibrated PCOC", got.pcoc, gate.max_pcoc, operator.le),
    ]
    return tuple(
        _of_all(gate, measured, _result(task, name, metric, value, bound, value is not None and holds(value, bound)))
        for name, metric, value, bound, holds in bounds
        if bound is not None
    )


def check_value(spec: ValueSpec, measured: ValueEvaluation) -> tuple[GateResult, ...]:
    """The bounds of the value-PCOC, which values of a few conversions cannot miss: its whole interval must lie beyond one."""
    pcoc, interval = measured.pcoc, measured.interval
    bounds = [
        ("min_pcoc", spec.min_pcoc, interval is None or spec.min_pcoc is None or interval.high >= spec.min_pcoc),
        ("max_pcoc", spec.max_pcoc, interval is None or spec.max_pcoc is None or interval.low <= spec.max_pcoc),
    ]
    return tuple(
        GateResult(
            task="value",
            key=f"value.{name}",
            metric="value-PCOC",
            value=pcoc,
            bound=bound,
            verdict="skipped" if interval is None else "passed" if held else "failed",
            note=f"{measured.rows} conversions whose value is known" if interval is None else "",
            interval=interval,
        )
        for name, bound, held in bounds
        if bound is not None
    )


def check_slices(task: str, gate: Gate, evaluation: TaskEvaluation) -> tuple[GateResult, ...]:
    """PCOC of every slice with enough rows; for each feature and bound, the slice that comes closest to failing."""
    results = []
    for feature, slices in _judged(gate, evaluation):
        found = [(value, m.calibrated.pcoc, m.calibrated.pcoc_interval) for value, m in slices.items()]
        judged = [(value, pcoc, interval) for value, pcoc, interval in found if pcoc is not None and interval is not None]
        if not judged:
            continue
        lowest, highest = min(judged, key=lambda s: s[2].high), max(judged, key=lambda s: s[2].low)
        for name, bound, (value, pcoc, interval), held in (
            ("min_pcoc", gate.min_pcoc, lowest, lowest[2].high >= gate.min_pcoc),
            ("max_pcoc", gate.max_pcoc, highest, highest[2].low <= gate.max_pcoc),
        ):
            where = f"{feature} = {value}"
            results.append(_result(task, name, "calibrated PCOC", pcoc, bound, held, where=where, interval=interval))
    return tuple(results)


def check_increase(task: str, gate: Gate, in_service: InService) -> tuple[GateResult, ...]:
    """Log loss against the release in service, over all rows that it has not learned from and, for each feature, the slice that
    comes closest to failing."""
    name, metric = "max_log_loss_increase", "relative increase in log loss"
    bound, over = gate.max_log_loss_increase, in_service.version
    if bound is None:
        return ()
    rival = in_service.tasks.get(task)
    if rival is None:
        return (_result(task, name, metric, None, bound, held=False, skip=in_service.note, over=over),)
    if rival.change is None or not has_enough(gate, rival):
        return (_of_all(gate, rival, _result(task, name, metric, None, bound, held=False, over=over)),)
    closest = {"": rival.change}
    for feature, slices in rival.slices.items():
        changes = {f"{feature} = {value}": change for value, change in slices.items() if has_enough(gate, change)}
        closest |= dict(sorted(changes.items(), key=lambda change: -change[1].interval.low)[:1])
    return tuple(
        _result(task, name, metric, c.relative, bound, c.interval.low <= bound, where=where, over=over, interval=c.interval)
        for where, c in closest.items()
    )


def check_recall(task: str, gate: Gate, in_service: InService) -> tuple[GateResult, ...]:
    """What the towers retrieve, against the release in service; nothing where all offers are ranked."""
    rival = in_service.tasks.get(task)
    found, bound = (rival and rival.recall), gate.max_recall_loss
    if bound is None or not found:
        return ()
    name, metric, held = "max_recall_loss", f"loss of recall@{found.k}", found.interval.low <= bound
    result = _result(task, name, metric, found.loss, bound, held, over=in_service.version, interval=found.interval)
    if found.positives >= gate.min_positives:
        return (result,)
    return (_unjudged(gate, f"{found.positives} positives, min_positives asks for {gate.min_positives}", result),)


def _result(
    task: str,
    name: str,
    metric: str,
    value: float | None,
    bound: float,
    held: bool,
    *,
    skip: str = "",
    where: str = "",
    over: int | None = None,
    interval: Interval | None = None,
) -> GateResult:
    """Of the bound `name`; `skip` says why it cannot be judged."""
    return GateResult(
        task=task,
        key=f"training.gates.{task}.{name}",
        metric=metric,
        value=value,
        bound=bound,
        verdict="skipped" if skip else "passed" if held else "failed",
        note=skip,
        where=where,
        over=over,
        interval=interval,
    )


def _judged(gate: Gate, evaluation: TaskEvaluation) -> Iterator[tuple[str, dict[str, Measured]]]:
    """(feature, value -> measured) of the slices with enough rows."""
    for feature, slices in evaluation.slices.items():
        yield feature, {value: m for value, m in slices.items() if has_enough(gate, m)}


def _of_all(gate: Gate, counted: LabelCount, result: GateResult) -> GateResult:
    """A bound over all rows that count: judged by them, if they are enough."""
    if has_enough(gate, counted):
        return result
    seen = counted.seen if isinstance(counted, Rival) else 0
    if seen and not counted.rows:
        return _unjudged(gate, f"release {result.over} has learned from all {seen:,} rows", result)
    negatives = counted.rows - counted.positives
    kind, count = ("positive", counted.positives) if counted.positives <= negatives else ("negative", negatives)
    without = f", without {seen:,} that it has learned from" if seen else ""
    few = f"{count} {kind}{'' if count == 1 else 's'} in {counted.rows:,} rows{without}"
    return _unjudged(gate, f"{few}, min_positives asks for {gate.min_positives}", result)


def _unjudged(gate: Gate, why: str, result: GateResult) -> GateResult:
    if gate.unjudged == "refuse":
        return result.model_copy(update={"verdict": "unjudged", "note": why})
    return result.model_copy(update={"verdict": "skipped", "note": f'{why}; unjudged = "release" lets it pass'})
