"""What came of the offers of an hour: the rule is that of training rows, and is held against them."""

import numpy as np
import pytest
from log_entries import decision, slot
from watched_archive import BEGIN_MS, HOUR_MS, WatchedArchive

from monitoring.summaries import ALL, Calibration, Series, Slice
from pipelines.examples import join_log

CTR, CVR = Series("calibration", "ctr"), Series("calibration", "cvr")
S = 1000


@pytest.fixture
def archive(tmp_path):
    return WatchedArchive(tmp_path)


def shows(archive, name, at_ms, p=0.04, offer="green", **changes):
    made = slot(name, offer, probability={"ctr": p, "cvr": 0.2}, price_micros=1000)
    archive.decides(decision(f"of-{name}", BEGIN_MS + at_ms, made, **changes))


def test_clicks_are_judged_once_their_window_has_passed(archive):
    # The click window is 100 s, and offers that are seen within one more count with their hour: at 3800 s all is known.
    shows(archive, "clicked", 0, p=0.5)
    archive.happens("impression", "clicked", BEGIN_MS + 1 * S)
    archive.happens("click", "clicked", BEGIN_MS + 101 * S)
    shows(archive, "late", 0, p=0.25)
    archive.happens("impression", "late", BEGIN_MS + 1 * S)
    archive.happens("click", "late", BEGIN_MS + 101 * S + 1)
    shows(archive, "unseen", 0)
    shows(archive, "robot", 0, invalid="user_agent")
    archive.happens("impression", "robot", BEGIN_MS + 1 * S)
    archive.write(3800 * S - 1)
    assert (ALL, CTR) not in archive.watched().by()
    archive.write(3800 * S)
    rows = archive.watched().by()[ALL, CTR]
    assert rows == Calibration.of([0.5, 0.25], [1, 0], [1000, 1000])
    # Charged 1000 for the click that came; 0.5 + 0.25 clicks at 1000 were to come.
    assert (rows.charged_micros, rows.expected_micros) == (1000, 750)


def test_conversions_are_judged_of_clicks_once_theirs_has_passed(archive):
    for name, converts_after_s in (("a", 1000), ("b", 1001)):
        shows(archive, name, 0, offer="red")
        archive.happens("impression", name, BEGIN_MS, "red")
        archive.happens("click", name, BEGIN_MS + 50 * S, "red")
        archive.happens("conversion", name, BEGIN_MS + (50 + converts_after_s) * S, "red")
    archive.write(4800 * S - 1)
    assert (ALL, CVR) not in archive.watched().by()
    archive.write(4800 * S)
    by = archive.watched().by()
    assert by[ALL, CVR] == Calibration.of([0.2, 0.2], [1, 0], [1000, 1000])
    assert by[Slice("campaign", "wine"), CVR] == by[ALL, CVR]
    # A bid for conversions pays nothing for clicks.
    assert by[ALL, CTR].charged_micros == 0


def test_an_hour_that_is_over_says_what_was_not_seen_and_what_has_no_cause(archive):
    shows(archive, "seen", 0)
    archive.happens("impression", "seen", BEGIN_MS + 1 * S)
    shows(archive, "unseen", 0)
    shows(archive, "clicked", 0)
    archive.happens("click", "clicked", BEGIN_MS + 9 * S, status="pending")
    shows(archive, "vouched", 0)
    archive.happens("click", "vouched", BEGIN_MS + 9 * S)
    archive.happens("conversion", "seen", BEGIN_MS + 99 * S)
    archive.write(3620 * S - 1)
    assert "unseen" not in archive.watched().flow()
    archive.write(3620 * S)
    known = archive.watched()
    said = {k: known.flow()[k] for k in ("unseen", "clicks_without_impression", "conversions_without_click")}
    # A click stands in for no impression.
    assert said == {"unseen": 3, "clicks_without_impression": 2, "conversions_without_click": 1}
    # The placement is none of an event's fields: by the join, one impression, two clicks, one conversion.
    main = known.flow(where=Slice("placement", "main"))
    assert {k: main[k] for k in ("filled", "impressions", "clicks", "conversions")} == {
        "filled": 4,
        "impressions": 1,
        "clicks": 2,
        "conversions": 1,
    }


def test_labels_are_those_of_training(archive):
    rng = np.random.default_rng(5)
    for i in range(400):
        at_ms = int(rng.integers(0, HOUR_MS))
        name = f"i{i}"
        shows(archive, name, at_ms, p=float(rng.uniform(0.01, 0.9)), invalid="user_agent" if rng.random() < 0.05 else "")
        at_ms += BEGIN_MS
        if rng.random() < 0.8:
            archive.happens("impression", name, at_ms + int(rng.integers(0, 60 * S)))
        for _ in range(int(rng.integers(0, 3))):
            status = str(rng.choice(["logged", "settled", "pending", "invalid"]))
            archive.happens("click", name, at_ms + int(rng.integers(0, 160 * S)), status=status, reason="too_fast")
        if rng.random() < 0.3:
            archive.happens("conversion", name, at_ms + int(rng.integers(0, 1300 * S)))
        if rng.random() < 0.05:
            archive.happens("adjustment", name, at_ms + int(rng.integers(0, 1000 * S)), charged_micros=-1, day=1)
    for quarter in range(1, 9):
        archive.write(quarter * HOUR_MS // 4)
    by = archive.watched().by()

    # What training would learn of the hour, as of when the watch looked.
    clicks, _ = join_log(archive.market, archive.log_dir, BEGIN_MS + 3800 * S)
    conversions, _ = join_log(archive.market, archive.log_dir, BEGIN_MS + 4800 * S)
    click = np.array(clicks["click_matured"].to_pylist()) == 1
    assert by[ALL, CTR].rows == click.sum() > 250
    assert by[ALL, CTR].sum_y == (np.array(clicks["click"].to_pylist())[click]).sum() > 50
    converts = (np.array(conversions["conversion_matured"].to_pylist()) == 1) & (np.array(conversions["click"].to_pylist()) == 1)
    assert by[ALL, CVR].rows == converts.sum() > 50
    assert by[ALL, CVR].sum_y == np.array(conversions["conversion"].to_pylist())[converts].sum() > 5
