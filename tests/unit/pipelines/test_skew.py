"""Training/serving skew, with a model that can be written down: what is compared, what is found, and why."""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_entries import decision, slot
from small_market import RAW, market_of
from watched_archive import BEGIN_MS, WatchedArchive, corner

from domain.events import CandidateLog, Decision
from features.log_archive import DECISIONS, parts
from features.market import Market, parse_market
from models.calibration import Calibrator, TaskCalibration, sigmoid
from models.release import FeatureSpecs, Manifest, Release, inputs_of
from pipelines.skew.check import NothingRanked, Skew, check_skew
from pipelines.skew.comparison import Comparison
from pipelines.skew.ranked import Columns, ranked
from pipelines.skew.sample import releases_in, sample_decisions

VERSION = 100
BRANDS = {"leaf": 0.3, "cellar": -0.2, "shop": 0.0, "house": 0.1}


class Formula:
    """logit(pctr) = 0.02 amount + 0.1 past_clicks + brand - 2, pcvr = 0.3; the country does nothing."""

    def raw(self, tensors: Columns) -> Columns:
        brand = np.array([BRANDS[b] for b in tensors["brand"]])
        z = 0.02 * tensors["amount"].astype(np.float64) + 0.1 * tensors["past_clicks"] + brand - 2
        return {"raw.ctr": sigmoid(z).astype(np.float32), "raw.cvr": np.full(len(brand), 0.3, np.float32)}

    def encoded(self, tensors: Columns) -> Columns:
        return {"amount:z": tensors["amount"] * 1000}


def p(amount: float, past_clicks: int, brand: str) -> float:
    one = {"amount": np.array([amount], np.float32), "past_clicks": np.array([past_clicks]), "brand": np.array([brand], object)}
    return float(Formula().raw(one)["raw.ctr"][0])


def release_of(market: Market, version: int = VERSION) -> Release:
    tasks = tuple(t.name for t in market.served_tasks)
    calibrator = Calibrator(tasks={name: TaskCalibration() for name in (*tasks, "never_served")})
    made = Manifest(
        version=version,
        market=market.name,
        created_ms=1,
        inputs=inputs_of(market),
        tasks=tasks,
        embedding_dim=2,
        rows={},
        packages={},
    )
    return Release(version, Path(str(version)), made, calibrator, FeatureSpecs.of(market), ())


def page(i: int, ranked_by: dict[str, Any] | None = None, **changes: Any) -> Decision:
    """A page that showed green and ranked card; `ranked_by` is what the model was given instead of what is logged."""
    features: dict[str, Any] = {"country": "DE", "amount": 10.0 * i, "past_clicks": i % 3}
    used = features | (ranked_by or {})
    ctr = {o: p(used["amount"], used["past_clicks"], used.get("brand", b)) for o, b in (("green", "leaf"), ("card", "house"))}
    shown = slot(f"i{i}", probability={"ctr": ctr["green"], "cvr": float(np.float32(0.3))})
    listed = CandidateLog(["green", "card"], ["ann", "ann"], {"ctr": [*ctr.values()], "cvr": [0.3, 0.3]}, [1.0, 1.0], [0, 505])
    made = decision(f"d{i}", BEGIN_MS + 1000 * i, shown, release=str(VERSION), features=features, candidates=listed)
    return replace(made, **changes)


def checked(folder: Path, pages: Iterable[Decision], **changes: Any) -> Skew:
    market = corner()
    archive = WatchedArchive(folder)
    for made in pages:
        archive.decides(made)
    archive.write(3_600_000)
    asked = {"since_ms": 0, "until_ms": math.inf, "most": 1000, "model": Formula()}
    return check_skew(market, release_of(market), folder, **(asked | changes))


def test_nothing_differs_where_serving_did_as_training_does(tmp_path: Path) -> None:
    skew = checked(tmp_path, [page(i) for i in range(20)])
    assert (skew.differences, skew.groups, skew.edited) == ((), [], ())
    assert (skew.decisions, skew.offers, skew.features) == (20, 20, 20 * 4)
    # Of each page green's, in slot and candidates, for both tasks; card was never shown, so what its features were is not known.
    assert (skew.probabilities, skew.left_out) == (20 * 4, 20 * 2)


def test_a_candidate_counts_once_its_offer_was_shown_as_it_is(tmp_path: Path) -> None:
    ctr = {"ctr": p(50.0, 2, "house"), "cvr": float(np.float32(0.3))}
    shown = replace(page(5), slots=[slot("i5", "card", probability=ctr, features={"brand": "house"})])
    skew = checked(tmp_path, [*(page(i) for i in range(5)), shown, *(page(i) for i in range(6, 9))])
    assert (skew.differences, skew.left_out) == ((), 5 * 2)


@pytest.mark.parametrize("gone", [True, False])
def test_an_offer_that_left_its_campaign_or_the_market_is_left_out(tmp_path: Path, gone: bool) -> None:
    """Calibration may go by the campaign, and the market says only where the offer is now."""
    checked(tmp_path, [page(i) for i in range(4)])
    raw = corner().model_dump(mode="json", exclude_defaults=True)
    raw["offers"][0] |= {"id": "another"} if gone else {"campaign": "own"}
    market = parse_market(raw)
    skew = check_skew(market, release_of(market), tmp_path, 0, math.inf, 10, model=Formula())
    assert (skew.differences, skew.probabilities, skew.left_out) == ((), 0, 4 * 3 * 2)


@pytest.mark.parametrize(
    ("wrong", "name", "why"),
    [
        (lambda i: {"amount": 1.5}, "amount", "amount was missing when it was ranked"),
        (lambda i: {"amount": 0.1 * i}, "amount", "amount was in another unit when it was ranked"),
        (lambda i: {"past_clicks": (i + 1) % 3}, "past_clicks", "past_clicks had another value when it was ranked"),
    ],
)
def test_a_feature_that_the_model_was_given_otherwise_is_named(tmp_path: Path, wrong: Any, name: str, why: str) -> None:
    skew = checked(tmp_path, [page(i, wrong(i)) for i in range(2, 12)])
    ((largest, decisions),) = skew.groups
    assert (largest.kind, largest.name, largest.why, decisions) == ("feature", name, why, 10)
    i = int(largest.decision_id.removeprefix("d"))
    assert (largest.served, largest.recomputed) == (pytest.approx(wrong(i)[name]), page(i).features[name])


def test_what_nothing_explains_is_named_as_the_probability(tmp_path: Path) -> None:
    off = page(3)
    off.slots[0].probability["ctr"] += 2e-5
    (found,) = checked(tmp_path, [page(1), page(2), off]).differences
    assert (found.kind, found.name, found.decision_id, found.offer_id, found.why) == ("probability", "ctr", "d3", "green", "")
    assert found.size == pytest.approx(2e-5, rel=0.01)


def test_two_things_that_are_wrong_are_both_named(tmp_path: Path) -> None:
    pages = [page(i, {"amount": 1.5}) for i in range(2, 8)] + [page(i, {"past_clicks": (i + 1) % 3}) for i in range(8, 12)]
    groups = checked(tmp_path, pages).groups
    assert [(largest.name, decisions) for largest, decisions in groups] == [("amount", 6), ("past_clicks", 4)]


@pytest.mark.parametrize(
    ("feature", "served", "recomputed"), [("country", "", "unknown"), ("past_clicks", 3, 2), ("amount", 20.000002, 20.0)]
)
def test_a_feature_that_the_gateway_assembles_otherwise_than_training_reads_it_is_named(
    tmp_path: Path, feature: str, served: Any, recomputed: Any
) -> None:
    """The last one by so little that only what Transform makes of it is further apart."""
    archive, market = WatchedArchive(tmp_path), corner()
    said = page(2)
    said.features["country"] = "unknown"
    archive.decides(said)
    archive.write(3_600_000)
    rows = ranked(market, sample_decisions(market, tmp_path, VERSION, 0, math.inf, 10).decisions)
    column = rows.training[feature].copy()
    column[:] = served
    otherwise = replace(rows, serving=rows.serving | {feature: column})
    (found,) = Comparison(market, release_of(market), otherwise, Formula(), {}).differences()
    assert (found.kind, found.name, found.why) == ("feature", feature, "assembled otherwise")
    assert (found.served, found.recomputed) == (pytest.approx(served), recomputed)


def test_robots_other_releases_and_other_times_are_not_looked_at(tmp_path: Path) -> None:
    pages = [page(1), page(2, invalid="robot"), page(3, release="99"), page(4, release="cold-start"), page(50)]
    skew = checked(tmp_path, pages, until_ms=BEGIN_MS + 49_999)
    assert (skew.decisions, skew.first_ms, skew.last_ms) == (1, BEGIN_MS + 1000, BEGIN_MS + 1000)
    assert releases_in(tmp_path, 0, math.inf) == {"100", "99", "cold-start"}


def test_a_sample_is_the_same_each_time_and_of_several_parts(tmp_path: Path) -> None:
    archive = WatchedArchive(tmp_path)
    for i in range(60):
        archive.decides(page(i))
    for second in (20, 40, 60):
        archive.write(second * 1000)
    first, again = (sample_decisions(corner(), tmp_path, VERSION, 0, math.inf, 12).decisions for _ in range(2))
    assert first.equals(again)
    tens = {int(d.removeprefix("d")) // 20 for d in first["decision_id"].to_pylist()}
    assert (len(first), tens) == (12, {0, 1, 2})


def test_where_there_is_nothing_to_recompute_it_says_so_and_names_what_could_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(NothingRanked, match="expected decisions that release 100 ranked, found none"):
        checked(tmp_path, [page(1, release="99")])
    (part,) = parts(tmp_path, DECISIONS)
    part.path.write_bytes(b"PAR1")
    with pytest.raises(NothingRanked, match=f"not read: {part.path}: expected a readable Parquet file"):
        check_skew(corner(), release_of(corner()), tmp_path, 0, math.inf, 10, model=Formula())


def test_every_kind_of_feature_is_the_same_tensor_on_both_sides(tmp_path: Path) -> None:
    """Lists, weights, numbers that are missing, texts; given, empty, and null as in a part of before."""
    features: list[dict[str, Any]] = [
        {"name": "city", "source": "context", "default": "unknown"},
        {"name": "plan", "source": "shopper", "missing": "own"},
        {"name": "age", "source": "shopper", "dtype": "int", "missing": "own"},
        {"name": "amount", "source": "context", "dtype": "float", "missing": "own"},
        {"name": "visits", "source": "history", "counter": "click"},
        {"name": "tags", "source": "context", "multiple": True, "max_values": 3},
        {"name": "sizes", "source": "context", "dtype": "int", "multiple": True, "max_values": 2, "vocabulary": [1, 2]},
        {"name": "tastes", "source": "shopper", "multiple": True, "weighted": True, "max_values": 2},
        {"name": "brand", "source": "offer", "default": "none"},
        {"name": "topics", "source": "offer", "multiple": True, "weighted": True},
    ]
    base = market_of(features, [{"name": "ctr", "label": "click"}], 1, {})
    offer = RAW["offers"][0] | {"features": {"brand": "b", "topics": {"x": 0.1, "y": 2.0}}}
    market = parse_market(base.model_dump(mode="json", exclude_defaults=True) | {"offers": [offer]})
    given = [
        {"city": "Ulm", "plan": "gold", "age": -(2**53) - 1, "amount": 0.1, "visits": 3, "tags": ["a", "b"], "sizes": [2, 7]},
        {"city": "Ulm", "plan": None, "age": None, "amount": None, "visits": 0, "tags": [], "sizes": [], "tastes": {}},
        {"city": None, "tags": None, "tastes": {"wine": 0.3, "tea": 1e-9}},
        {"city": "", "plan": ""},
    ]
    archive = WatchedArchive(tmp_path, market)
    logged = {"brand": "b", "topics": {"x": 0.1, "y": 2.0}}
    for i, values in enumerate(given):
        shown = slot(f"i{i}", offer_id="o", campaign_id="c", probability={"ctr": 0.1}, features=logged)
        listed = CandidateLog(["o"], ["ann"], {"ctr": [0.1]}, [1.0], [0])
        archive.decides(decision(f"d{i}", BEGIN_MS + i, shown, release="100", features=dict(values), candidates=listed))
    archive.write(1000)
    rows = ranked(market, sample_decisions(market, tmp_path, 100, 0, math.inf, 10).decisions)
    assert len(rows.decision) == len(given)
    assert rows.training.keys() == rows.serving.keys() == {t.name for f in market.features for t in f.tensors}
    for name, column in rows.training.items():
        np.testing.assert_array_equal(rows.serving[name], column, err_msg=name)
