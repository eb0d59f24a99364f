"""Training and serving agree, to 1e-5: in what the API answers, and in what is logged; where they do not, `skew` says what."""

import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from tampering import Rows, tampered
from typer.testing import CliRunner

from features.log_archive import DECISIONS, part_path, parts
from features.market import Market, load_market
from models.calibration import Calibrator, TaskCalibration
from models.calibration.curves import Platt
from models.release import EVAL_PREDICTIONS, Release, calibrated_column, load_release
from monitoring.incidents import IncidentStore, incidents_path
from monitoring.incidents.reading import live_incidents
from offerrank.cli import app
from offerrank.skew import Asked
from offerrank.skew_watch import turn
from pipelines.skew.check import Skew, check_skew
from pipelines.skew.recompute import Recomputer
from store.ports import free_port
from tests.integration.conftest import TrainedRelease

REPOSITORY = Path(__file__).resolve().parents[2]
MARKET = REPOSITORY / "examples/coupons/market.toml"
ROWS = 600
LOGGED = 60


@dataclass(frozen=True)
class Served:
    """What the documented `offerrank serve` command started."""

    url: str
    operator_key: str
    log_dir: Path

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self.operator_key}"}, timeout=10)


@pytest.fixture(scope="module")
def gateway(coupon_release: TrainedRelease, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    run_dir = tmp_path_factory.mktemp("serve")
    command = [sys.executable, "-m", "offerrank", "serve", "--market", str(MARKET), "--release", str(coupon_release.releases)]
    command += ["--dir", str(run_dir), "--port", str(free_port()), "--monitor-port", str(free_port())]
    archived_soon = os.environ | {"OFFERRANK_ARCHIVE_INTERVAL_S": "1"}
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=archived_soon, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as serve:
        assert serve.stdout is not None
        said: list[str] = []
        url = ""
        for line in serve.stdout:
            said.append(line)
            if line.startswith("gateway: "):
                url = line.split()[1].rstrip(",")
            if line.startswith("ranking by release"):
                break
        assert url, "".join(said)
        assert said[-1].startswith("ranking by release"), "".join(said)
        yield Served(url, (run_dir / "operator-key").read_text().strip(), run_dir / "log")
        serve.send_signal(signal.SIGINT)
        rest, _ = serve.communicate(timeout=60)
        assert serve.returncode == 0, rest


@pytest.fixture(scope="module")
def log_dir(gateway: Served, coupon_release: TrainedRelease) -> Path:
    """The archive of purchases that were really decided, `LOGGED` of them by the release."""
    market = load_market(MARKET)
    asked = 0
    with gateway.http() as http:
        for i, row in enumerate(_eval_rows(coupon_release, LOGGED)):
            request = _request(market, row) | {"test": False}
            request["shopper"]["key"] = f"shopper-{i}"
            asked += _asked(http, request, lambda body: body["release"] == str(coupon_release.version))[1]
    until = time.monotonic() + 60
    while sum(pq.read_metadata(p.path).num_rows for p in parts(gateway.log_dir, DECISIONS)) < asked:
        assert time.monotonic() < until
        time.sleep(0.2)
    return gateway.log_dir


def test_the_api_predicts_what_the_evaluation_did(gateway: Served, coupon_release: TrainedRelease) -> None:
    market = load_market(MARKET)
    rows = _eval_rows(coupon_release, ROWS)
    worst = 0.0
    with gateway.http() as http:
        for row in rows:
            body, _ = _asked(http, _request(market, row), lambda body: body["degraded"] == [])
            assert body["release"] == str(coupon_release.version)
            served = {c["offer_id"]: c["probability"]["ctr"] for c in body["explain"]["candidates"]}
            worst = max(worst, abs(served[_offer_of(market, row)] - row[calibrated_column("ctr")]))
    assert worst <= 1e-5


def test_what_was_logged_is_what_training_makes_of_it(log_dir: Path, coupon_release: TrainedRelease) -> None:
    arguments = ["skew", "--log", str(log_dir), "--release", str(coupon_release.releases), "--market", str(MARKET)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    compared = rf"{LOGGED} decisions, ([\d,]+) features and ([\d,]+) probabilities recomputed"
    said = re.fullmatch(f"release {coupon_release.version}: {compared}: no difference\n", done.stdout)
    assert said, done.output
    features, probabilities = (int(count.replace(",", "")) for count in said.groups())
    assert features > LOGGED * 21
    assert probabilities > LOGGED


@dataclass(frozen=True)
class Checked:
    """Runs the check on a log that was tampered with."""

    log_dir: Path
    copy: Path
    release: Release
    model: Recomputer

    def __call__(self, change: Callable[[Rows], None]) -> Skew:
        """`change` gets what a release ranked."""
        return self.of(tampered(self.log_dir, self.copy, lambda rows: change([r for r in rows if r["release"] != "cold-start"])))

    def of(self, log_dir: Path, market: Path = MARKET, **changes: Any) -> Skew:
        checked = {"release": self.release, "since_ms": 0, "until_ms": math.inf, "most": 1000, "model": self.model}
        return check_skew(load_market(market), log_dir=log_dir, **(checked | changes))


@pytest.fixture(scope="module")
def model(coupon_release: TrainedRelease) -> Recomputer:
    """Takes seconds to load, so once."""
    return Recomputer(load_market(MARKET), coupon_release.path)


@pytest.fixture
def check(log_dir: Path, model: Recomputer, coupon_release: TrainedRelease, tmp_path: Path) -> Checked:
    return Checked(log_dir, tmp_path / "log", load_release(coupon_release.path), model)


def test_a_feature_whose_value_in_the_log_is_not_the_one_that_was_ranked_is_named(check: Checked) -> None:
    changed: list[str] = []

    def change(rows: Rows) -> None:
        row = next(r for r in rows if r["features"]["destination"] == "Home")
        row["features"]["destination"] = "Work"
        changed.append(row["decision_id"])

    (found,) = check(change).differences
    assert (found.kind, found.name, found.served, found.recomputed) == ("feature", "destination", "Home", "Work")
    assert (found.decision_id, found.release) == (changed[0], check.release.version)
    assert found.why == "destination had another value when it was ranked"


def test_an_offers_feature_that_is_logged_otherwise_than_the_catalogue_has_it_is_named(check: Checked) -> None:
    changed: list[tuple[str, str]] = []

    def change(rows: Rows) -> None:
        row, slot = next((r, s) for r in rows for s in r["slots"] if s["features"]["expiration"] == "1d")
        slot["features"]["expiration"] = "2h"
        changed.append((row["decision_id"], slot["offer_id"]))

    (found,) = check(change).differences
    assert (found.kind, found.name, found.served, found.recomputed) == ("feature", "expiration", "1d", "2h")
    assert (found.decision_id, found.offer_id) == changed[0]


def test_features_that_are_swapped_are_both_named_in_every_decision(check: Checked) -> None:
    differ: list[str] = []

    def change(rows: Rows) -> None:
        for r in rows:
            f = r["features"]
            f["bar_visits"], f["coffee_house_visits"] = f["coffee_house_visits"], f["bar_visits"]
            differ.extend([r["decision_id"]] * (f["bar_visits"] != f["coffee_house_visits"]))

    skew = check(change)
    groups = {d.name: count for d, count in skew.groups}
    assert groups == dict.fromkeys(("bar_visits", "coffee_house_visits"), len(differ))
    assert {d.why for d in skew.differences} == {"bar_visits and coffee_house_visits are swapped"}
    assert {d.decision_id for d in skew.differences} == set(differ)


def test_what_an_hour_has_is_an_incident_with_its_example(log_dir: Path, coupon_release: TrainedRelease, tmp_path: Path) -> None:
    """What `offerrank skew --every 1h` does each hour, in a process of its own."""

    def change(rows: Rows) -> None:
        for r in rows:
            r["features"]["destination"] = "No Urgent Place"

    tampered(log_dir, tmp_path, change)
    asked = Asked(tmp_path, coupon_release.releases, None, MARKET, 0, math.inf, 200)
    store = IncidentStore(incidents_path(tmp_path))
    end_ms = turn(asked, store, 86_400, 0, 3600)
    live = {i.kind: i for i in live_incidents(store.connection)}
    assert live.keys() == {"skew", "replay"}  # what was changed in the log is not decided again as it stands there, either
    incident = live["skew"]
    assert incident.title == "destination differs between training and serving"
    assert (incident.kind, incident.release, incident.size) == ("skew", str(coupon_release.version), 1.0)
    assert incident.detail["served"] in ("Home", "Work")
    assert incident.detail["recomputed"] == "No Urgent Place"
    assert {"decision_id", "offer_id"} <= incident.detail.keys()
    assert 0 < float(incident.detail["differing"]) < float(incident.detail["rows"]) == LOGGED
    # There is nothing new, so nothing is looked at: the incident stays.
    assert turn(asked, store, 86_400, end_ms, 3600) == end_ms
    assert {i.id for i in live_incidents(store.connection)} == {i.id for i in live.values()}
    store.close_file()


def test_a_probability_that_is_off_is_named_with_its_offer_and_nothing_else(check: Checked) -> None:
    changed: list[tuple[str, str, float]] = []

    def change(rows: Rows) -> None:
        row = next(r for r in rows if r["slots"])
        slot = row["slots"][0]
        slot["probability"]["ctr"] += 2e-5
        changed.append((row["decision_id"], slot["offer_id"], slot["probability"]["ctr"]))

    (found,) = check(change).differences
    assert (found.kind, found.name, found.why) == ("probability", "ctr", "")
    assert (found.decision_id, found.offer_id, found.served) == changed[0]
    assert isinstance(found.recomputed, float)
    assert found.recomputed == pytest.approx(changed[0][2] - 2e-5, abs=1e-6)


def test_half_of_what_counts_is_no_difference(check: Checked) -> None:
    def change(rows: Rows) -> None:
        for r in rows:
            for slot in r["slots"]:
                slot["probability"]["ctr"] += 5e-6

    assert check(change).differences == ()


def test_the_calibrator_of_another_release_is_named(check: Checked) -> None:
    """The gateway calibrated as release 7 did, and not as this one does."""
    used, own = check.release.calibrator, Calibrator(tasks={"ctr": TaskCalibration(curve=Platt(slope=0.8, intercept=0.3))})
    release = replace(check.release, calibrator=own)
    skew = check.of(check.log_dir, release=release, calibrators={"calibrated as release 7": used})
    ((largest, decisions),) = skew.groups
    assert (largest.kind, largest.name, largest.why) == ("probability", "ctr", "calibrated as release 7")
    assert decisions == skew.decisions == LOGGED


def test_an_offer_that_was_edited_since_is_no_difference(check: Checked, tmp_path: Path) -> None:
    text = MARKET.read_text("utf-8").replace('expiration = "2h"', 'expiration = "1d"')
    (tmp_path / "edited.toml").write_text(text, encoding="utf-8")
    pages = [row for part in parts(check.log_dir, DECISIONS) for row in pq.read_table(part.path).to_pylist()]
    shown = {slot["offer_id"] for page in pages if page["release"] != "cold-start" for slot in page["slots"]}
    skew = check.of(check.log_dir, tmp_path / "edited.toml")
    assert skew.differences == ()
    assert set(skew.edited) == {offer for offer in shown if offer.endswith("-2h")} != set()


def test_a_part_that_cannot_be_read_is_named_and_the_others_are_looked_at(check: Checked) -> None:
    log_dir = tampered(check.log_dir, check.copy, lambda rows: None)
    last = parts(log_dir, DECISIONS)[-1]
    damaged = part_path(log_dir, DECISIONS, last.number + 1, last.first_ms, last.last_ms)
    damaged.write_bytes(last.path.read_bytes()[:-100])
    skew = check.of(log_dir)
    assert (skew.differences, skew.decisions) == ((), LOGGED)
    (said,) = skew.unreadable
    assert said.startswith(f"{damaged}: expected a readable Parquet file")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--release", "17"], "17: no such release folder"),
        (["--until", "2020-01-01"], "expected decisions that a release ranked, found none"),
        (["--release", "RELEASE", "--until", "2020-01-01"], "ranked, found none"),
        (
            ["--market", str(REPOSITORY / "examples/confirmation/market.toml")],
            "was trained for market 'coupons', not 'confirmation'",
        ),
        (["--market", "more.toml"], "does not know feature 'mood' of the market: train again"),
    ],
)
def test_what_cannot_be_recomputed_is_named(
    options: list[str], said: str, log_dir: Path, coupon_release: TrainedRelease, tmp_path: Path
) -> None:
    more = '\n[[features]]\nname = "mood"\nsource = "context"\ndefault = ""\n'
    (tmp_path / "more.toml").write_text(MARKET.read_text("utf-8") + more, encoding="utf-8")
    places = {"RELEASE": str(coupon_release.path), "more.toml": str(tmp_path / "more.toml")}
    arguments = ["skew", "--log", str(log_dir), "--releases", str(coupon_release.releases), *(places.get(o, o) for o in options)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert said in result.output


def _asked(http: httpx.Client, request: dict[str, Any], well: Callable[[dict[str, Any]], bool]) -> tuple[dict[str, Any], int]:
    """The answer, asked for again where a busy machine made a stage of it late; and how often."""
    for times in range(1, 21):
        answer = http.post("/v1/decisions", json=request)
        assert answer.status_code == 200, answer.text
        if well(body := answer.json()):
            return body, times
    raise AssertionError(body)


def _eval_rows(coupon_release: TrainedRelease, count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(coupon_release.path / EVAL_PREDICTIONS).slice(0, count).to_pylist()
    assert len(rows) == count
    return rows


def _request(market: Market, row: dict[str, Any]) -> dict[str, Any]:
    """The row as a purchase; what equals the default is left out, so that serving has to fill it in as training did."""

    def values(source: str) -> dict[str, Any]:
        return {f.name: row[f.name] for f in market.features if f.source == source and row[f.name] != f.default}

    return {
        "shopper": {"attributes": values("shopper")},
        "context": values("context"),
        "placements": [{"name": market.placements[0].name}],
        "explain": True,
        "test": True,  # budgets stay untouched, so that every offer is ranked for every row
    }


def _offer_of(market: Market, row: dict[str, Any]) -> str:
    """The offer with the row's offer features."""
    (offer,) = (o.id for o in market.offers if all(market.offer_value(o, f) == row[f.name] for f in market.offer_features))
    return offer
