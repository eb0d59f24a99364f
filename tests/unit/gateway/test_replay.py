"""Decisions made once more from what was logged of them: the same, bit for bit; and where not, it is said."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter
from then import Then, of_stream

from domain.errors import ContractError, OfferRankError, Unavailable
from domain.outcome import Reason
from features.log_archive import StreamId, part_path
from features.log_entry import DEFLATED, deflated
from models.calibration import TaskCalibration
from models.calibration.curves import Platt
from models.examination import ExaminationCurve
from offerrank.explain import table_of
from retrieval.index import build_index
from serving.archiver.rows import Entry, log_formats
from serving.gateway.schema import LoggedExplanation
from serving.gateway.wire import HttpError
from serving.replay.differences import differences
from serving.replay.explained import explained
from serving.replay.logged import Logged, in_archive, read_decisions
from serving.replay.sweep import sweep
from serving.replay.world import Sources


def archived(gateway: Any, folder: Path) -> Path:
    """A part with all that was logged."""
    _, log = log_formats(gateway.view.market)
    table, rejected = log.table([Entry(StreamId(1, i), {DEFLATED: deflated(made)}) for i, made in enumerate(gateway.logged)])
    assert not rejected
    path = part_path(folder, "decisions", 1, gateway.now_ms, gateway.now_ms)
    path.parent.mkdir(parents=True)
    pq.write_table(table, path)
    return path


def replayed(gateway: Any, folder: Path, away: tuple[str, ...] = ()) -> int:
    """How many were logged; each is the same again, from the stream and from the archive."""
    then = Then(gateway, away)
    of_archive = list(read_decisions(archived(gateway, folder), 0, float("inf")))
    assert len(of_archive) == len(gateway.logged)
    for said in [*map(of_stream, gateway.logged), *of_archive]:
        assert differences(Logged.of(said), then) == []
    return len(gateway.logged)


@pytest.fixture
def busy(build_gateway, market):
    """A market whose budgets run out while it is sold, with exploration, caps, pacing, a release that ranks, and floors."""
    campaigns = tuple(c.model_copy(update={"daily_budget_micros": 6_000_000}) for c in market.campaigns)
    policy = market.policy.model_copy(update={"epsilon": 0.3, "log_candidates": 0.3})
    gateway = build_gateway(market.model_copy(update={"campaigns": campaigns, "policy": policy}))
    curve = ExaminationCurve(seen=(1.0, 0.6, 0.4))
    gateway.serve_release(calibration=TaskCalibration(curve=Platt(slope=1.1, intercept=-0.2)), examination=curve)

    def outputs(_: str, inputs: Any) -> dict[str, Any]:
        n = len(inputs["category"])
        return {t: np.random.default_rng(n).beta(2, 30, n).astype(np.float32) for t in ("ctr", "cvr")}

    gateway.model.outputs = outputs
    return gateway


def sell(gateway: Any, pages: int) -> None:
    rng = np.random.default_rng(5)
    for i in range(pages):
        gateway.campaigns.pacing_multiplier = {"alpha-spring": float(np.float32(rng.random())), "beta-reach": 0.5}
        shopper = {"key": f"s-{i % 3}", "attributes": {"country": str(rng.choice(["DE", "GB", "FR"]))}}
        placements = [{"name": "main", "floor_ecpm_micros": int(rng.choice([0, 9_000_000]))}, {"name": "side"}]
        gateway.decide(shopper=shopper, placements=placements)
        if i % 4 == 0:
            gateway.campaigns.committed_micros = dict(gateway.budgets.committed_micros)
        if i == 60:
            gateway.campaigns.committed_micros["alpha-spring"] = 6_000_000


def test_every_decision_is_the_same_again_while_budgets_run_out(busy, tmp_path):
    sell(busy, 120)
    assert replayed(busy, tmp_path) == 120
    # And it was no easy day: budgets refused before and in the auction, pages were drawn, multipliers were none.
    moments = [m.moment for m in busy.logged]
    assert any("budget" in m.get("barred", {}) for m in moments)
    assert any(m.get("unable") for m in moments)
    assert any("pacing" in m for m in moments)
    assert {m.explored for m in busy.logged} == {True, False}


def test_what_fell_back_falls_back_again(gateway, tmp_path):
    gateway.serve_release()
    gateway.model.error = Unavailable("ranker", "refused")
    gateway.decide()
    assert replayed(gateway, tmp_path, ("serving_default",)) == 1
    assert gateway.logged[0].moment["release"] == 7


def test_without_redis_what_has_a_budget_is_kept_out_again(gateway, tmp_path):
    gateway.shoppers.away = gateway.campaigns.away = gateway.budgets.away = True
    gateway.decide(shopper={"key": "s"})
    assert "budget_unknown" in gateway.logged[0].moment["barred"]
    assert replayed(gateway, tmp_path) == 1


def test_a_shoppers_caps_and_past_are_as_they_were(gateway, tmp_path):
    day = gateway.now_ms // 86_400_000
    gateway.shoppers.by_key["s"] = {"click": 2, "impression": 9, f"cap:beta-reach:{day}": 99, f"cap:alpha-spring:{day}": 99}
    gateway.decide(shopper={"key": "s"}, placements=[{"name": "main"}, {"name": "side"}])
    gateway.shoppers.by_key.clear()
    assert replayed(gateway, tmp_path) == 1


def test_what_a_request_blocked_is_blocked_again(gateway, tmp_path):
    gateway.decide(blocked={"advertisers": ["alpha"], "offers": ["gamma-trip"]})
    gateway.decide()
    assert [m.moment["asked"].get("blocked") is None for m in gateway.logged] == [False, True]
    assert replayed(gateway, tmp_path) == 2


def test_new_offers_are_drawn_again(build_gateway, market, tmp_path):
    small = market.model_copy(update={"policy": market.policy.model_copy(update={"max_candidates": 4})})
    gateway = build_gateway(small)
    gateway.serve_release(index=build_index(["alpha-shoes", "alpha-hats"], np.eye(4, dtype=np.float32)[:2]))
    priors = gateway.model.outputs
    embedding = {"embedding": np.eye(4, dtype=np.float32)[:1]}
    gateway.model.outputs = lambda signature, inputs: embedding if signature == "query" else priors(signature, inputs)
    for _ in range(20):
        gateway.decide()
    assert len({tuple(m.candidates.offer_id) for m in gateway.logged}) > 1
    assert replayed(gateway, tmp_path) == 20


def test_one_price_that_was_changed_in_the_log_is_found(busy):
    sell(busy, 3)
    said = of_stream(next(m for m in busy.logged if m.slots))
    tampered = copy.deepcopy(said)
    tampered["slots"][0]["price_micros"] += 1
    (found,) = differences(Logged.of(tampered), Then(busy))
    price = said["slots"][0]["price_micros"]
    assert (found.decision_id, found.field) == (said["decision_id"], "slots[0].price_micros")
    assert (found.logged, found.recomputed) == (price + 1, price)


def test_a_loser_that_was_another_is_found_where_losers_are_listed(build_gateway, market):
    gateway = build_gateway(market.model_copy(update={"policy": market.policy.model_copy(update={"log_candidates": 1.0})}))
    gateway.decide()
    said = of_stream(gateway.logged[0])
    said["candidates"]["reason"][-1] = int(Reason.BUDGET)
    assert [d.field for d in differences(Logged.of(said), Then(gateway))] == [
        f"candidates.reason[{len(said['candidates']['reason']) - 1}]"
    ]


def test_a_moment_that_does_not_fit_the_catalogue_is_a_difference_and_one_without_a_moment_no_replay(gateway):
    gateway.decide()
    said = of_stream(gateway.logged[0])
    (found,) = differences(Logged.of(said | {"moment": said["moment"] | {"pacing": "AAAA"}}), Then(gateway))
    assert "moment.pacing" in found.recomputed
    with pytest.raises(ContractError, match="no `moment`"):
        Logged.of(said | {"moment": {}})
    for wrong in ({"seed": "x"}, {"seed": 1}, {"seed": 1, "asked": {}, "barred": {"budget": "!"}}):
        with pytest.raises(ContractError, match="moment"):
            Logged.of(said | {"moment": wrong})


def test_a_decision_is_found_by_its_id_and_a_sweep_counts_what_it_cannot_replay(gateway, tmp_path):
    gateway.decide(id="page-1")
    archived(gateway, tmp_path)
    found = in_archive(tmp_path, "page-1")
    assert found is not None
    assert found["slots"][0]["price_micros"] == gateway.logged[0].slots[0].price_micros
    assert in_archive(tmp_path, "page-2") is None
    done = sweep(Sources(tmp_path, tmp_path / "releases"), 0, float("inf"))
    assert (done.decisions, sum(done.refused.values())) == (0, 1)
    assert "--market" in next(iter(done.refused))


def test_what_cannot_be_read_is_said(tmp_path):
    path = part_path(tmp_path, "decisions", 1, 0, 0)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"cut short")
    with pytest.raises(OfferRankError, match=r"expected decisions"):
        list(read_decisions(path, 0, 1))


class Told:
    """An explainer that knows one decision."""

    async def explained(self, decision_id: str) -> bytes:
        if decision_id != "page-1":
            raise HttpError(404, "id", "no such decision", decision_id)
        return b'{"decision_id": "page-1"}'


def test_only_operators_may_ask_for_a_past_decision(gateway):
    url = "/v1/decisions/page-1/explain"
    assert gateway.call("GET", url, key="operator-key").status_code == 404  # a gateway that does not know the log
    gateway.use(explainer=Told())
    answers = {
        key: gateway.call("GET", url, key=key).status_code for key in ("operator-key", "server-key", "publisher-key", None)
    }
    assert answers == {"operator-key": 200, "server-key": 403, "publisher-key": 403, None: 404}
    assert gateway.call("GET", url, key="operator-key").json() == {"decision_id": "page-1"}
    assert gateway.call("GET", "/v1/decisions/page-2/explain", key="operator-key").status_code == 404


def test_a_past_decision_is_explained_as_a_present_one(busy):
    sell(busy, 8)
    answer = busy.decide(id="page-1", explain=True, placements=[{"name": "main"}, {"name": "side"}])
    said = of_stream(busy.logged[-1])
    told = explained(Logged.of(said), Then(busy))
    now = answer["explain"]
    assert told["candidates"] == now["candidates"]
    assert (told["features"], told["reserve_ecpm_micros"]) == (now["features"], now["reserve_ecpm_micros"])
    assert (told["decision_id"], told["slots"], told["differences"]) == ("page-1", said["slots"], [])
    TypeAdapter(LoggedExplanation).validate_python(told)

    page = table_of(told["candidates"], busy.view.market)
    slots, why = (list(page.columns[i].cells) for i in (0, -1))
    assert sorted(s for s in slots if s) == [str(slot["position"] + 1) for slot in said["slots"]]
    assert "Shown." in why


def test_what_was_blocked_is_blocked_again(gateway, tmp_path):
    gateway.decide(blocked={"advertisers": ["gamma"], "offers": ["alpha-shoes"]})
    assert gateway.logged[0].slots
    assert replayed(gateway, tmp_path) == 1
