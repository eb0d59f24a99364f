import re
import tomllib
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import pipelines.report
from features.market import Market
from features.training_spec import Gate
from models.evaluation import (
    DataUsed,
    EvaluationReport,
    Examined,
    InService,
    LabelCount,
    Measured,
    SplitData,
    compare,
    evaluate_task,
)
from models.explored import Choice, OnExplored
from models.gates import check_task
from models.log_used import LogUsed
from models.metrics import Interval
from models.progress import Epoch, History
from models.retrieval import Recall
from models.value_metrics import ValueEvaluation
from pipelines.report import render
from tests.unit.pipelines.conftest import MakeMarket

ROWS, VERSION = 2000, 1_763_778_000
RNG = np.random.default_rng(3)
TRUE = RNG.beta(2, 6, ROWS)
CLICKS = (RNG.random(ROWS) < TRUE).astype(np.int64)
CONVERSIONS = CLICKS * (RNG.random(ROWS) < 0.3)
CITY = np.array(RNG.choice(["Bonn", "<b>Ulm</b>"], ROWS), object)
HISTORY = History(
    model="ranker",
    primary="ctr",
    epochs=tuple(
        Epoch(epoch=i + 1, seconds=1.0, train_loss=0.5 - 0.1 * i, valid_loss={"ctr": ctr, "cvr": 0.1 - 0.01 * i})
        for i, ctr in enumerate((0.5, 0.4, 0.45))
    ),
)

Render = Callable[..., str]


@pytest.fixture
def market(make_market: MakeMarket) -> Market:
    return make_market(slices=["city"], split={"kind": "time", "by": "time_ms"})


@pytest.fixture
def html(market: Market) -> Render:
    """A report of two tasks after release 17."""

    def report(gate: Gate | None = None, in_service: InService | None = None, fits: tuple[History, ...] = (HISTORY,)) -> str:
        clicked, calibrated = CLICKS == 1, np.full(ROWS, 0.3)
        rival = in_service or InService(version=17, tasks={"ctr": compare(CLICKS, TRUE, np.full(ROWS, 0.5), {"city": CITY})})
        ctr = evaluate_task(CLICKS, TRUE**2, TRUE, {"city": CITY}).model_copy(
            update={
                "importance": {"brand": 0.05, "age": -0.001},
                "importance_intervals": {"brand": Interval(0.04, 0.06)},
                "importance_rows": LabelCount(rows=900, positives=400),
                "recall": Recall(k=100, offers=2000, positives=500, recall=0.9, interval=Interval(0.87, 0.93)),
            }
        )
        cvr = evaluate_task(CONVERSIONS[clicked], calibrated[clicked], calibrated[clicked], {})
        cvr = cvr.model_copy(update={"entire": Measured.of(CONVERSIONS, TRUE * 0.3, TRUE * 0.3)})
        tasks = {"ctr": LabelCount(rows=ROWS, positives=500), "cvr": LabelCount(rows=500, positives=150)}
        used = SplitData(rows=ROWS, tasks=tasks, first="1763700000000", last="1763777000000")
        return render(
            market,
            EvaluationReport(
                tasks={"ctr": ctr, "cvr": cvr},
                gates=check_task("ctr", gate or Gate(), ctr, tasks["ctr"], rival),
                data=DataUsed(
                    splits=dict.fromkeys(("train", "valid", "eval"), used), warnings=("column 'sum': 1e+20 is too much",)
                ),
                in_service=rival,
                examination=(Examined(position=0, rows=900, seen=1.0), Examined(position=1, rows=700, seen=0.631)),
            ),
            fits,
            VERSION,
        )

    return report


def text(html: str) -> str:
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", html, flags=re.S).split())


class Balanced(HTMLParser):
    """Fails on an element that is closed out of turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_verdict_of_a_release_comes_first(html: Render) -> None:
    assert re.match(
        r"small 1763778000: released small release 1763778000, 2025-11-22 02:20 UTC Released: \d+ checks passed", text(html())
    )


def test_a_refused_model_says_why(html: Render) -> None:
    said = text(html(Gate(min_auc=0.999)))
    assert "candidate 1763778000" in said
    assert re.search(r"Not released: AUC of ctr is 0\.\d{4}, training.gates.ctr.min_auc asks for 0.999", said)
    assert "Released:" not in said


def test_it_stands_alone_and_is_well_formed(html: Render) -> None:
    page = html()
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=|url\(|@import", page)
    assert len(page) < 100_000
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []


def test_what_a_log_holds_is_shown_and_never_run(html: Render) -> None:
    assert "<b>Ulm</b>" not in html()
    assert "&lt;b&gt;Ulm&lt;/b&gt;" in html()


def test_it_tells_of_the_data_the_tasks_and_their_slices(html: Render) -> None:
    said = text(html())
    assert "train learn 2,000 2,000 25.00 % 500 30.00 % 2025-11-21 04:40 UTC 2025-11-22 02:03 UTC" in said
    for part in (
        "ctr by city, calibrated",
        "cvr where click = 1",
        "cvr with click, over all rows",
        "position rows clicks left 0 900 100.0 % 1 700 63.1 %",
        "ctr, on 900 rows, 400 of them positive brand 0.0500 0.0400 to 0.0600",
        "Of 500 offers with ctr , 90.0 % are among the 100 of 2,000 that the two towers retrieve",
        "age -0.0010",
    ):
        assert part in said


def test_what_is_odd_about_the_data_is_said(html: Render) -> None:
    assert "column 'sum': 1e+20 is too much" in unescape(text(html()))


def test_training_curves_show_which_epoch_was_kept(html: Render) -> None:
    said = text(html())
    assert "3 passes over the training rows; the weights after pass 2 (dashed) were kept" in said
    assert "cvr was best after pass 3." in said
    assert "passes over" not in text(html(fits=()))


def test_the_release_in_service_is_compared_or_it_says_why_not(html: Render) -> None:
    assert re.search(r"ctr 0\.\d+ 0\.5000 .* better", text(html()))
    skipped = text(html(in_service=InService(version=17, note="not compared: it takes another feature")))
    assert "Release 17 was in service, and not compared: it takes another feature." in skipped


def test_what_the_model_does_not_choose_and_what_it_would_choose_is_told_where_the_log_says(market: Market) -> None:
    explored = (np.arange(ROWS) % 4 == 0).astype(np.int64)
    seen = OnExplored.of(CLICKS, TRUE, explored)
    ctr = evaluate_task(CLICKS, TRUE**2, TRUE, {}).model_copy(update={"explored": seen})
    choice = Choice(rows=ROWS, effective=88.4, at_random=0.25, ours=0.5, theirs=0.4, gain=Interval(0.02, 0.18))
    rival = compare(CLICKS, TRUE, np.full(ROWS, 0.5), {}).model_copy(update={"choice": choice})
    log = LogUsed(clicked=1_000, clicks_without_impression=30, not_rendered=80, orphan_events=0)
    train = SplitData(rows=ROWS, tasks={name: LabelCount(rows=ROWS, positives=500) for name in ("ctr", "cvr")})
    report = EvaluationReport(
        tasks={"ctr": ctr},
        gates=(),
        data=DataUsed(splits={"train": train}, log=log),
        in_service=InService(version=17, tasks={"ctr": rival}),
    )
    said = text(render(market, report, (), VERSION))
    assert re.search(r"On pages drawn at random, calibrated .* ctr 500 \d+ 0\.\d{4} 0\.\d{4} to", said)
    assert (
        "Were all offers drawn alike, 25.00 % would end in ctr ; of the fifth that release 17 thinks most likely 40.00 %" in said
    )
    assert "worth 88 of equal weight): a gain of 2.00 % to 18.00 % , better." in said
    assert "Of 1,000 clicks in the log, 3.0 % had no impression reported" in said
    assert "drawn at random" not in text(render(market, report.model_copy(update={"tasks": {}, "in_service": None}), (), VERSION))


def test_what_a_conversion_is_worth_is_told_where_it_is_predicted(market: Market) -> None:
    sold = np.arange(ROWS) % 2 == 0
    value = ValueEvaluation.of(np.where(sold, 20e6, np.nan), np.full(ROWS, 25e6), np.full(ROWS, 0.5), CONVERSIONS == 1)
    assert value is not None
    ctr = evaluate_task(CLICKS, TRUE**2, TRUE, {})
    report = EvaluationReport(tasks={"ctr": ctr}, gates=(), value=value)
    said = text(render(market, report, (), VERSION))
    assert (
        f"{value.rows} conversions of known value ({value.unknown} more are of unknown value) were worth 20.00 EUR each" in said
    )
    assert "the model says 25.00 EUR: a value-PCOC of 1.250" in said
    assert "What a conversion is worth" not in text(render(market, report.model_copy(update={"value": None}), (), VERSION))


def test_every_gate_is_listed_with_its_key(html: Render) -> None:
    said = text(html())
    for name in ("min_auc", "min_pcoc", "max_pcoc", "max_log_loss_increase"):
        assert f"training.gates.ctr.{name}" in said


def test_a_task_that_could_not_be_measured_is_still_reported(market: Market) -> None:
    nothing = evaluate_task(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), {})
    page = render(market, EvaluationReport(tasks={"ctr": nothing}, gates=()), (), VERSION)
    assert "n/a" in text(page)
    assert "None was in service." in text(page)


def test_templates_are_packaged() -> None:
    folder = Path(pipelines.report.__file__).parent
    project = tomllib.loads((folder.parent / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["pipelines"]
    assert {p for pattern in patterns for p in folder.glob(pattern)} == set((folder / "templates").iterdir())
