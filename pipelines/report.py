"""report.html: what a person reads before a model takes traffic. One file without scripts, which loads nothing."""

from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from features.market import Market, load_market
from models import release
from models.evaluation import EvaluationReport, TaskEvaluation
from models.metrics import Interval
from models.progress import Histories, History
from pipelines.charts import Axis, Chart, Line, line_chart, square_chart

SHOWN_FEATURES = 20
WHISKERS = Axis(0.5, 1.5, 4, 116)
"""PCOC, in the cells of the table of slices."""


def write_report(assembled: Path, target: Path, version: int, refused: tuple[str, ...] = ()) -> None:
    """Writes the report of an assembled release.

    Args:
      assembled: folder with `assets.extra/evaluation.json` and `market.toml`, and `history.json` if the fit kept one.
      refused: why it is not pushed, where that is known from elsewhere than the gates.
    """
    history = assembled / release.HISTORY
    html = render(
        load_market(assembled / release.MARKET),
        EvaluationReport.model_validate_json((assembled / release.EVALUATION).read_bytes()),
        Histories.model_validate_json(history.read_bytes()).fits if history.exists() else (),
        version,
        refused,
    )
    target.write_text(html, encoding="utf-8")


def render(
    market: Market, evaluation: EvaluationReport, fits: tuple[History, ...], version: int, refused: tuple[str, ...] = ()
) -> str:
    """The report as HTML; of an ensemble's fits the first one is drawn."""
    history = fits[0] if fits else None
    return template("report.html").render(
        market=market,
        evaluation=evaluation,
        version=version,
        made=datetime.fromtimestamp(version, UTC),
        reasons=refused or evaluation.refusals,
        verdicts={v: sum(g.verdict == v for g in evaluation.gates) for v in ("passed", "skipped")},
        history=history,
        members=len(fits),
        losses=_losses(history) if history and history.epochs else None,
        reliability={name: _reliability(task) for name, task in evaluation.tasks.items()},
        whiskers=WHISKERS,
        shown_features=SHOWN_FEATURES,
    )


def template(name: str) -> Template:
    """One of `templates/`."""
    templates = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(loader=templates, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": _number, "percent": _percent, "count": _count, "interval": _interval, "time": _time}
    return environment.get_template(name)


def _losses(history: History) -> Chart:
    """Training and validation losses by epoch."""
    training = Line("training, all tasks", tuple((e.epoch, e.train_loss) for e in history.epochs))
    validation = (
        Line(f"{t}, validation", tuple((e.epoch, e.valid_loss[t]) for e in history.epochs)) for t in history.best_epochs
    )
    return line_chart((training, *validation))


def _reliability(task: TaskEvaluation) -> Chart:
    """Common axes of a task's two diagrams."""
    ends = [max(b.mean_p, b.rate_interval.high) for bins in task.reliability.values() for b in bins]
    return square_chart(min(1.0, 1.05 * max(ends, default=1.0)))


def _number(value: float | None, digits: int = 4) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None, digits: int = 1) -> str:
    return "n/a" if value is None else f"{100 * value:.{digits}f} %"


def _count(value: int) -> str:
    return f"{value:,}"


def _interval(value: Interval | None, digits: int = 4) -> str:
    return "" if value is None else f"{value[0]:.{digits}f} to {value[1]:.{digits}f}"


def _time(value: str, column: str | None) -> str:
    """A logged time; milliseconds, which the event log's names end in, as a date."""
    if column is None or not column.endswith("_ms") or not value.isdecimal():
        return value
    return f"{datetime.fromtimestamp(int(value) / 1000, UTC):%Y-%m-%d %H:%M} UTC"
