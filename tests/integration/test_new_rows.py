"""What a turn of retraining takes of new rows: what the release in service believes, and enough of it to judge by.

The model says 0.31 for every page, and 0.3 for every click; the log is as it says, but where a test breaks it.
"""

from collections.abc import Callable
from pathlib import Path

import log_entries
import pyarrow.parquet as pq
import pytest
from growing_archive import GrowingArchive
from steady_model import save_model, seal_release

from domain.doubted import Doubted
from domain.errors import LabelsDoubted, NothingToLearn
from features.market import Market, load_market
from models.release import FinalLabels, Origin, Release, load_release
from pipelines.new_rows import NewRows, write_new_rows
from pipelines.turn_rows import lay_by

HOUR_MS = 3_600_000
START_MS = 500_000 * HOUR_MS
FINAL_MS = 1_100_000
"""After a page: click and conversion windows."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    save_model(folder := tmp_path_factory.mktemp("steady") / "model")
    return folder


@pytest.fixture
def market(tmp_path: Path) -> Market:
    (tmp_path / "market.toml").write_text(log_entries.MARKET_TOML.replace("[training]", "[training]\nmin_rows = 10"))
    return load_market(tmp_path / "market.toml")


@pytest.fixture
def service(tmp_path: Path, market: Market, model: Path) -> Release:
    """Has learned all labels that were final at the start."""
    labels = FinalLabels.of(market, START_MS)
    made = seal_release(tmp_path / "releases", model, market, 100, trained_through_ms=START_MS - 100_000, labels=labels)
    return load_release(made)


class Log:
    """Hours of pages of one offer, one after the other."""

    def __init__(self, market: Market, log_dir: Path) -> None:
        self.archive, self.hour, self.clicks = GrowingArchive(market, log_dir), 0, 0

    def passes(self, pages: int, clicked: Callable[[int], bool] = lambda i: i * 31 % 100 < 31) -> int:
        """An hour; returns a time at which all of its labels are final."""
        for i in range(pages):
            at = START_MS + self.hour * HOUR_MS + (i + 1) * (HOUR_MS - FINAL_MS) // (pages + 1)
            click, self.clicks = clicked(i), self.clicks + clicked(i)
            converts = click and self.clicks % 10 in (0, 3, 6)
            self.archive.shows(f"h{self.hour}-{i}", at, at if click else None, at + 900 if converts else None)
        self.hour += 1
        self.archive.until(START_MS + self.hour * HOUR_MS)
        return START_MS + self.hour * HOUR_MS


@pytest.fixture
def log(market: Market, tmp_path: Path) -> Log:
    return Log(market, tmp_path / "log")


Take = Callable[..., NewRows]


@pytest.fixture
def take(market: Market, log: Log, service: Release, tmp_path: Path) -> Take:
    def taken(now_ms: int, doubted: Doubted = Doubted.REFUSE, made: Release = service) -> NewRows:
        return write_new_rows(market, log.archive.log_dir, now_ms, made, tmp_path / "new.parquet", doubted)

    return taken


def nobody(page: int) -> bool:
    del page
    return False


def test_a_task_with_too_few_positives_waits_and_the_others_do_not_wait_for_it(log: Log, take: Take, tmp_path: Path) -> None:
    now_ms = log.passes(400)
    new = take(now_ms)
    # 124 clicks are enough, 37 conversions are not.
    assert (new.report.rows, new.report.clicks, new.report.conversions) == (400, 124, 0)
    assert {task: (n.rows, n.positives) for task, n in new.waiting.items()} == {"cvr": (124, 37)}
    assert new.report.labels is not None
    assert (new.report.labels.as_of_ms, new.report.labels.waiting) == (now_ms, {"conversion": START_MS})
    assert set(pq.read_table(tmp_path / "new.parquet")["conversion_usable"].to_pylist()) == {0}


def test_what_waits_is_taken_once_there_is_enough_of_it(log: Log, take: Take, service: Release, tmp_path: Path) -> None:
    """Three hours of clicks, learned one by one; 111 conversions in the third turn, those of the hours before among them."""
    made = service
    for hour in range(3):
        now_ms = log.passes(400)
        new = take(now_ms, made=made)
        assert ("cvr" in new.waiting) == (hour < 2)
        assert new.report.labels is not None
        manifest = made.manifest.model_copy(update={"labels": new.report.labels})
        made = Release(100, made.path, manifest, made.calibrator, made.specs, made.offer_ids)
    assert new.report.conversions == 111
    rows = pq.read_table(tmp_path / "new.parquet")
    assert [sum(rows[f"{label}_usable"].to_pylist()) for label in ("click", "conversion")] == [400, 1200]
    assert made.manifest.labels == FinalLabels.of(load_market(tmp_path / "market.toml"), now_ms)


def test_little_traffic_pools_until_it_can_be_judged(log: Log, take: Take) -> None:
    for _ in range(3):
        now_ms = log.passes(100)
        with pytest.raises(
            NothingToLearn, match=r"enough rows to judge by \(min_positives\) that release 100 has not learned from"
        ):
            take(now_ms)
    assert take(log.passes(100)).report.clicks == 124


def test_an_hour_whose_clicks_are_lost_is_refused_while_it_lasts(log: Log, take: Take) -> None:
    log.passes(400)
    now_ms = log.passes(400, nobody)
    with pytest.raises(LabelsDoubted) as refused:
        take(now_ms)
    assert refused.value.failures == ("ctr: 0 positives in 400 rows where 124 were expected by release 100",)


def test_an_hour_in_which_nobody_clicked_is_no_want_of_rows(log: Log, take: Take) -> None:
    """There will never be enough positives, so it must not wait for them in silence."""
    with pytest.raises(LabelsDoubted, match="0 positives in 400 rows"):
        take(log.passes(400, nobody))


def test_once_it_is_over_it_is_left_out_for_good(log: Log, take: Take, market: Market, service: Release, tmp_path: Path) -> None:
    log.passes(400, nobody)
    now_ms = log.passes(400)
    new = take(now_ms)
    assert (new.report.rows, new.report.clicks) == (400, 124)
    first, second = (START_MS + hour * HOUR_MS for hour in (0, 1))
    assert [(span.label, span.from_ms, span.until_ms) for span in new.left_out] == [
        ("click", first, second),
        ("conversion", first, second),
    ]
    assert new.left_out[0].why == "ctr: 0 positives in 400 rows where 124 were expected"
    # The next full training reads that hour again, and leaves it out.
    origin = {"labels": FinalLabels.of(market, now_ms), "trained_through_ms": second, "left_out": new.left_out}
    manifest = service.manifest.model_copy(update=origin)
    made = Release(100, service.path, manifest, service.calibrator, service.specs, service.offer_ids)
    later_ms = log.passes(400)
    rows = lay_by(market, log.archive.log_dir, later_ms, tmp_path, made, anew=True)
    assert rows.left_out == new.left_out
    assert rows.data is not None
    assert rows.new is not None
    learned, fresh = (pq.read_table(path)["time_ms"].to_pylist() for path in (rows.data, rows.new))
    assert (len(learned), len(fresh)) == (400, 400)
    assert min(learned) >= second
    assert max(learned) < START_MS + 2 * HOUR_MS <= min(fresh)


def test_an_operator_may_leave_out_what_lasts_or_say_that_it_is_meant(log: Log, take: Take) -> None:
    log.passes(400)
    now_ms = log.passes(400, nobody)
    left_out, learned = take(now_ms, Doubted.LEAVE_OUT), take(now_ms, Doubted.LEARN)
    assert (left_out.report.rows, len(left_out.left_out)) == (400, 2)
    assert (learned.report.rows, learned.report.clicks, learned.left_out) == (800, 124, ())


def test_conversions_that_are_lost_leave_clicks_alone(log: Log, take: Take, tmp_path: Path) -> None:
    log.clicks = 1_000_001
    for i in range(400):  # clicks of which none converts
        at = START_MS + i * 1000
        log.archive.shows(f"lost-{i}", at, at if i % 100 < 31 else None)
    log.hour = 1
    now_ms = log.passes(1000)
    new = take(now_ms)
    assert {span.label for span in new.left_out} == {"conversion"}
    assert (new.report.clicks, new.report.conversions, new.waiting.keys()) == (124 + 310, 0, {"cvr"})  # 93 of 310 convert
    assert pq.read_table(tmp_path / "new.parquet").num_rows == 1400


def test_new_rows_are_new_and_old_ones_are_those_that_were_learned(
    log: Log, market: Market, service: Release, tmp_path: Path
) -> None:
    """A training anew on a log of which the release in service knows the first hour: no label is in both files, or in neither."""
    first_ms = log.passes(400)
    made = Release(
        100,
        service.path,
        service.manifest.model_copy(update={"labels": FinalLabels.of(market, first_ms), "trained_through_ms": first_ms}),
        service.calibrator,
        service.specs,
        service.offer_ids,
    )
    now_ms = log.passes(400)
    rows = lay_by(market, log.archive.log_dir, now_ms, tmp_path, made, anew=True)
    assert rows.data is not None
    assert rows.new is not None
    old, new = (pq.read_table(path) for path in (rows.data, rows.new))
    known, fresh = (
        {(r["impression_id"], label) for r in table.to_pylist() for label in ("click", "conversion") if r[f"{label}_usable"]}
        for table in (old, new)
    )
    assert not known & fresh
    # The conversions of the second hour wait for more of them.
    assert (len(known), len(fresh)) == (800, 400)
    assert Origin(rows={}, labels=rows.labels).labels is not None
