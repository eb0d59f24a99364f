"""The request path, from request to answer, on ports in memory; tests/golden/market.toml has the numbers."""

import numpy as np
import pytest

from domain.errors import ContractError, DependencyTimeout, Unavailable
from domain.outcome import Reason
from models.calibration import Platt, TaskCalibration, logit
from models.calibration.slices import SliceShifts
from models.examination import ByValue, ExaminationCurve
from retrieval.index import build_index
from serving.gateway.explain import WORDS


def offers(answer, placement=0):
    return [o["offer_id"] for o in answer["placements"][placement]["offers"]]


def reasons(answer):
    return {c["offer_id"]: c["reason"]["name"] for c in answer["explain"]["candidates"]}


def test_before_the_first_release_the_priors_rank_and_the_next_bidder_sets_the_price(gateway):
    answer = gateway.decide(include_pricing=True)
    assert offers(answer) == ["gamma-trip", "alpha-shoes"]
    assert answer["release"] == "cold-start"
    assert answer["degraded"] == []
    # gamma pays per sale what keeps it above alpha's 20e6: 20e6 / (1000 * 0.02 * 0.1) = 10_000_000;
    # alpha pays per click what keeps it above beta's 15e6: 15e6 / (1000 * 0.02) = 750_000.
    assert [o["pricing"]["price_micros"] for o in answer["placements"][0]["offers"]] == [10_000_000, 750_000]
    # Held is the price of a click, and of a sale what an impression is expected to bring: 10_000_000 * 0.02 * 0.1.
    assert gateway.budgets.held == {("gamma-sales", "id-1"): 20_000, ("alpha-spring", "id-1"): 750_000}


def test_same_advertiser_is_never_shown_twice_and_every_loser_has_its_reason(gateway):
    answer = gateway.decide(
        placements=[{"name": "main"}, {"name": "side"}], explain=True, shopper={"attributes": {"country": "DE"}}
    )
    assert offers(answer, 0) == ["gamma-trip", "alpha-shoes"]
    assert offers(answer, 1) == ["beta-bank"]
    assert reasons(answer) == {
        "gamma-trip": "won",
        "alpha-shoes": "won",
        "beta-bank": "won",
        "alpha-hats": "advertiser_exclusion",
        "house-club": "outbid",
        "delta-game": "targeting",
        "omega-coat": "schedule",
    }


def test_bid_to_win_beats_the_cheapest_slot(gateway, build_gateway, market):
    answer = gateway.decide(explain=True)
    by_offer = {c["offer_id"]: c for c in answer["explain"]["candidates"]}
    # The cheapest slot went at 20e6: an impression, of which a cpm bid buys a thousand, just above 20_000, delta's clicks at 2 %
    # just above 1_000_000.
    assert by_offer["beta-bank"]["bid_to_win_micros"] == 20_001_000
    assert by_offer["delta-game"]["bid_to_win_micros"] == 1_000_001
    assert by_offer["gamma-trip"]["bid_to_win_micros"] is None
    for offer_id in ("beta-bank", "delta-game", "house-club"):
        campaign_id, needed = by_offer[offer_id]["campaign_id"], by_offer[offer_id]["bid_to_win_micros"]
        for bid, shown in ((needed, True), (needed - 1, False)):
            other = [c.model_copy(update={"bid_micros": bid} if c.id == campaign_id else {}) for c in market.campaigns]
            page = build_gateway(market.model_copy(update={"campaigns": tuple(other)})).decide()
            assert (offer_id in offers(page)) == shown


def test_every_candidate_says_how_far_it_came_and_why_no_further(gateway):
    gateway.serve_release(calibration=TaskCalibration(curve=Platt(intercept=0.1)))
    answer = gateway.decide(explain=True, shopper={"attributes": {"country": "DE"}})
    by_offer = {c["offer_id"]: c for c in answer["explain"]["candidates"]}
    assert {o: c["stage"] for o, c in by_offer.items()} == {
        "gamma-trip": "page",
        "alpha-shoes": "page",
        "beta-bank": "auction",
        "alpha-hats": "auction",
        "house-club": "auction",
        "delta-game": "eligibility",
        "omega-coat": "eligibility",
    }
    shown, lost, out = (by_offer[o] for o in ("alpha-shoes", "beta-bank", "delta-game"))
    # 2 % as the model said; a tenth more on the logit as calibrated.
    assert shown["raw"]["ctr"] == pytest.approx(0.02, rel=1e-6)
    assert shown["probability"]["ctr"] == pytest.approx(1 / (1 + 49 * np.exp(-0.1)), rel=1e-5)
    assert shown["quality"] == shown["probability"]["ctr"]
    assert (shown["position"], shown["price_micros"]) == (
        (slot := gateway.logged[0].slots[[s.offer_id for s in gateway.logged[0].slots].index("alpha-shoes")]).position,
        slot.price_micros,
    )
    assert (lost["position"], lost["price_micros"]) == (None, None)
    assert lost["why"] == "It could have been shown, but others were worth more."
    assert (out["raw"], out["paced_bid_micros"], out["bid_to_win_micros"]) == (None, None, None)


def test_every_reason_has_its_words():
    assert set(WORDS) == set(Reason)


def test_the_models_probabilities_are_calibrated_and_answered_in_full(gateway):
    gateway.serve_release()
    p = 0.1234567  # as float32, 0.12345670163631439
    gateway.model.outputs = lambda _, inputs: {
        "ctr": np.full(len(inputs["category"]), p, np.float32),
        "cvr": np.full(len(inputs["category"]), 0.5, np.float32),
    }
    answer = gateway.decide(include_pricing=True)
    assert answer["release"] == "7"
    (pricing,) = {o["pricing"]["probability"]["ctr"] for o in answer["placements"][0]["offers"]}
    assert pricing == pytest.approx(float(np.float32(p)), rel=1e-12)


def test_calibration_tells_apart_slices_of_the_request_and_of_each_offer(gateway):
    shifts = {"visits": {"3": 0.5}, "past_clicks": {"2": 0.25}, "category": {"travel": 1.0, "fashion": -1.0}}
    slices = {name: SliceShifts(precision=25, shift=shift) for name, shift in shifts.items()}
    gateway.serve_release(calibration=TaskCalibration(slices=slices))
    gateway.shoppers.by_key["s"] = {"click": 2}
    answer = gateway.decide(explain=True, shopper={"key": "s", "attributes": {"visits": 3}})
    ctr = {c["offer_id"]: c["probability"]["ctr"] for c in answer["explain"]["candidates"] if c["probability"]}
    # The model says 0.02 of everyone; all get 0.75 on the logit, a trip 1 more, clothes 1 less.
    prior = np.log(0.02 / 0.98)
    expected = {"gamma-trip": prior + 1.75, "alpha-shoes": prior - 0.25, "beta-bank": prior + 0.75}
    assert {o: logit(np.array(ctr[o])) for o in expected} == pytest.approx(expected, abs=1e-6)


def test_calibration_tells_apart_pairs_of_a_request_and_an_offer(gateway):
    pair = SliceShifts(precision=25, shift={"travel x 3": 1.0, "travel x 4": -9.0, "fashion x 3": -1.0})
    gateway.serve_release(calibration=TaskCalibration(slices={"category x visits": pair}))
    answer = gateway.decide(explain=True, shopper={"key": "s", "attributes": {"visits": 3}})
    ctr = {c["offer_id"]: c["probability"]["ctr"] for c in answer["explain"]["candidates"] if c["probability"]}
    prior = np.log(0.02 / 0.98)
    expected = {"gamma-trip": prior + 1, "alpha-shoes": prior - 1, "beta-bank": prior}
    assert {o: logit(np.array(ctr[o])) for o in expected} == pytest.approx(expected, abs=1e-6)


def test_clicks_further_down_are_worth_what_the_release_says_is_left_of_them(gateway):
    gateway.serve_release(examination=ExaminationCurve(seen=(1.0, 0.5)))
    answer = gateway.decide(include_pricing=True, explain=True)
    # gamma's sale is worth 24e6 and alpha's click 20e6 at the top. In the second slot the click is left with 10e6, below beta's
    # 15e6 per thousand impressions, which pay what beats it: 10_000 each.
    assert offers(answer) == ["gamma-trip", "beta-bank"]
    assert [o["pricing"]["price_micros"] for o in answer["placements"][0]["offers"]] == [10_000_000, 10_000]
    ecpm = [o["pricing"]["ecpm_micros"] for o in answer["placements"][0]["offers"]]
    assert ecpm == pytest.approx([24_000_000, 15_000_000])
    assert answer["explain"]["examination"] == [1.0, 0.5]
    assert [s.examination for s in gateway.logged[-1].slots] == [1.0, 0.5]
    # The second slot went at 15e6: clicks, of which half is left, need 30e6 there, and more than 24e6 for the first.
    by_offer = {c["offer_id"]: c for c in answer["explain"]["candidates"]}
    assert by_offer["alpha-shoes"]["bid_to_win_micros"] == pytest.approx(1_200_001, abs=1)


def test_a_page_is_looked_at_as_its_request_says(gateway):
    steep = ByValue(values={"GB": (1.0, 0.5)}, other=(1.0, 1.0))
    gateway.serve_release(examination=ExaminationCurve(seen=(1.0, 1.0), by={"country": steep}))
    assert offers(gateway.decide(shopper={"attributes": {"country": "GB"}})) == ["gamma-trip", "beta-bank"]
    answer = gateway.decide(shopper={"attributes": {"country": "FR"}}, explain=True)
    assert offers(answer) == ["gamma-trip", "alpha-shoes"]
    assert "examination" not in answer["explain"]


def test_the_priors_are_of_wherever_offers_are_shown(gateway):
    gateway.serve_release(examination=ExaminationCurve(seen=(1.0, 0.5)))
    gateway.model.error = Unavailable("ranker", "refused")
    assert offers(gateway.decide()) == ["gamma-trip", "alpha-shoes"]
    assert [s.examination for s in gateway.logged[-1].slots] == [1.0, 1.0]


def test_the_model_gets_request_features_once_and_offer_features_per_eligible_offer(gateway):
    gateway.serve_release()
    gateway.shoppers.by_key["s"] = {"click": 3}
    gateway.decide(shopper={"key": "s", "attributes": {"country": "GB"}}, context={"amount": 59.9})
    ((signature, version, inputs),) = gateway.model.asked
    assert (signature, version) == ("serving_default", 7)
    assert inputs["country"].tolist() == [b"GB"]
    assert inputs["visits"].tolist() == [1]
    assert inputs["past_clicks"].tolist() == [3]
    assert inputs["amount"].dtype == np.float32
    assert len(inputs["category"]) == 6  # all but the offer whose campaign has ended


def test_a_shopper_who_saw_it_twice_today_does_not_see_it_again(gateway):
    day = gateway.now_ms // 86_400_000
    gateway.shoppers.by_key["s"] = {f"cap:delta-play:{day}": 2}
    answer = gateway.decide(shopper={"key": "s"}, explain=True)
    assert reasons(answer)["delta-game"] == "frequency_cap"
    gateway.shoppers.by_key["s"] = {f"cap:delta-play:{day - 1}": 2}
    assert reasons(gateway.decide(shopper={"key": "s"}, explain=True))["delta-game"] == "outbid"


def test_a_floor_of_the_placement_raises_the_price_and_empties_the_slot_nobody_reaches(gateway):
    answer = gateway.decide(placements=[{"name": "side", "floor_ecpm_micros": 22_000_000}], include_pricing=True)
    (offer,) = answer["placements"][0]["offers"]
    assert offer["pricing"]["price_micros"] == 11_000_000  # 22e6 / (1000 * 0.02 * 0.1), above the next bidder's 20e6
    answer = gateway.decide(placements=[{"name": "side", "floor_ecpm_micros": 25_000_000}])
    assert answer["placements"][0] == {"name": "side", "offers": [], "reason": {"code": 100, "name": "below_floor"}}


def test_pacing_lowers_the_bid_not_the_ceiling_of_the_campaign(gateway):
    gateway.campaigns.pacing_multiplier["gamma-sales"] = 0.5
    answer = gateway.decide(explain=True)
    assert offers(answer) == ["alpha-shoes", "beta-bank"]
    gamma = next(c for c in answer["explain"]["candidates"] if c["offer_id"] == "gamma-trip")
    assert (gamma["pacing_multiplier"], gamma["ecpm_micros"]) == (0.5, 12_000_000.0)
    # 15e6 / (1000 * 0.02 * 0.1) / 0.5, and one micro more of the half
    assert gamma["bid_to_win_micros"] == 15_000_002


def test_a_winner_without_room_makes_place_for_the_next_at_its_own_price(gateway):
    gateway.budgets.committed_micros["gamma-sales"] = 59_990_000  # 10_000 left, 20_000 would be held
    answer = gateway.decide(include_pricing=True, explain=True)
    assert offers(answer) == ["alpha-shoes", "beta-bank"]
    assert reasons(answer)["gamma-trip"] == "budget"
    # beta pays per impression what keeps it above delta's 10e6 per thousand.
    assert [o["pricing"]["price_micros"] for o in answer["placements"][0]["offers"]] == [750_000, 10_000]
    assert gateway.budgets.held == {("alpha-spring", "id-1"): 750_000, ("beta-reach", "id-1"): 10_000}


def test_a_random_page_is_drawn_among_those_that_can_pay(build_gateway, market):
    policy = market.policy.model_copy(update={"cold_start_epsilon": 1.0})
    gateway = build_gateway(market.model_copy(update={"policy": policy}))
    for c in market.campaigns:
        gateway.budgets.committed_micros[c.id] = c.daily_budget_micros or 0
    answers = [gateway.decide(placements=[{"name": "main", "count": 5}]) for _ in range(5)]
    assert {tuple(offers(a)) for a in answers} == {("house-club",)}
    # Five advertisers pass the reserve, but only one has money left.
    assert [s.propensity for d in gateway.logged for s in d.slots] == [1.0] * 5
    # Half its bid of 6.00 per thousand is less than the reserve of 5.00.
    assert {s.price_micros for d in gateway.logged for s in d.slots} == {5_000}


def test_a_campaign_with_a_little_left_empties_no_page(gateway):
    gateway.budgets.committed_micros["gamma-sales"] = 60_000_000 - 1
    pages = [offers(gateway.decide()) for _ in range(20)]
    assert pages == [["alpha-shoes", "beta-bank"]] * 13 + [["beta-bank", "delta-game"]] * 7


def test_open_tabs_count_for_a_frequency_cap_only_with_a_shopper_key(gateway):
    side = [{"name": "side"}]
    for c in ("gamma-sales", "alpha-spring", "alpha-rest", "beta-reach"):
        gateway.campaigns.pacing_multiplier[c] = 0.0
    known = [offers(gateway.decide(placements=side, shopper={"key": "s"})) for _ in range(3)]
    assert known == [["delta-game"], ["delta-game"], ["house-club"]]
    assert [offers(gateway.decide(placements=side)) for _ in range(3)] == [["delta-game"]] * 3


def test_a_spent_budget_is_out_before_ranking(gateway):
    gateway.campaigns.committed_micros["gamma-sales"] = 60_000_000
    assert reasons(gateway.decide(explain=True))["gamma-trip"] == "budget"


@pytest.mark.parametrize("broken", ["snapshot", "hold"])
def test_without_redis_nothing_with_a_budget_is_sold(gateway, broken):
    gateway.campaigns.away = broken == "snapshot"
    gateway.budgets.away = True
    answer = gateway.decide(explain=True)
    assert offers(answer) == ["house-club"]
    assert answer["degraded"] == ["budgets"]
    assert reasons(answer)["gamma-trip"] == "budget_unknown"


def test_an_unknown_shopper_has_no_history(gateway):
    gateway.serve_release()
    gateway.shoppers.away = True
    assert gateway.decide()["degraded"] == ["shopper"]
    assert gateway.model.asked[0][2]["past_clicks"].tolist() == [0]


@pytest.mark.parametrize(
    "error",
    [DependencyTimeout("ranker", "slow"), Unavailable("ranker", "refused"), ContractError("no such input")],
    ids=["slow", "away", "refuses"],
)
def test_without_the_ranker_the_priors_rank_and_the_answer_says_so(gateway, error):
    gateway.serve_release()
    gateway.model.error = error
    answer = gateway.decide()
    assert offers(answer) == ["gamma-trip", "alpha-shoes"]
    assert (answer["degraded"], answer["release"]) == (["ranker"], "cold-start")


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.5])
def test_a_model_that_answers_nonsense_does_not_rank(gateway, wrong):
    gateway.serve_release()
    gateway.model.outputs = lambda _, inputs: {t: np.full(len(inputs["category"]), wrong, np.float32) for t in ("ctr", "cvr")}
    assert gateway.decide()["degraded"] == ["ranker"]


@pytest.fixture
def large(build_gateway, market):
    """A catalogue larger than what may be ranked, and a release whose index puts gamma-trip and delta-game nearest."""
    gateway = build_gateway(market.model_copy(update={"policy": market.policy.model_copy(update={"max_candidates": 3})}))
    ids = [o.id for o in market.offers]
    embeddings = np.tile(np.array([[0.0, 1.0]], np.float32), (len(ids), 1))
    embeddings[[ids.index("gamma-trip"), ids.index("delta-game")]] = [1.0, 0.0]
    at_priors = gateway.model.outputs
    gateway.model.outputs = lambda signature, inputs: (
        {"embedding": np.array([[1.0, 0.0]], np.float32)} if signature == "query" else at_priors(signature, inputs)
    )
    gateway.serve_release(index=build_index(ids, embeddings))
    return gateway


def sources(answer):
    return {c["offer_id"]: c["source"] for c in answer["explain"]["candidates"]}


def test_a_large_catalogue_is_searched_by_the_shoppers_embedding(large):
    answer = large.decide(explain=True)
    assert [signature for signature, *_ in large.model.asked] == ["query", "serving_default"]
    assert large.model.asked[0][2].keys() == {"country", "visits", "amount", "past_clicks"}
    found = sources(answer)
    assert len(found) == 3
    assert (found["gamma-trip"], found["delta-game"]) == ("ann", "ann")
    assert answer["degraded"] == []


@pytest.mark.parametrize("embedding", [[[1.0, 0.0, 0.0]], [1.0, 0.0], [[np.nan, 0.0]], None])
def test_without_an_embedding_the_rules_find_candidates(large, embedding):
    ranked = large.model.outputs
    query = {} if embedding is None else {"embedding": np.array(embedding, np.float32)}
    large.model.outputs = lambda signature, inputs: query if signature == "query" else ranked(signature, inputs)
    answer = large.decide(explain=True)
    assert answer["degraded"] == ["retrieval"]
    assert set(sources(answer).values()) <= {"popular", "new"}
    assert offers(answer)


def test_a_test_request_holds_and_logs_nothing(gateway):
    answer = gateway.decide(test=True)
    assert offers(answer) == ["gamma-trip", "alpha-shoes"]
    assert (gateway.budgets.held, gateway.logged) == ({}, [])
    token = answer["placements"][0]["offers"][0]["token"]
    result = gateway.call("POST", "/v1/events", json={"events": [{"type": "click", "token": token}]}).json()
    assert result["results"] == [{"index": 0, "status": "test", "charged_micros": 0}]
    assert gateway.ledger.seen == {}


def test_the_log_has_what_was_used(gateway):
    gateway.decide(shopper={"key": "s", "attributes": {"visits": 4}})
    (decision,) = gateway.logged
    assert decision.features == {"country": "US", "visits": 4, "amount": 10.0, "past_clicks": 0}
    assert decision.day == 20833  # 1_800_000_000 s / 86_400
    assert [(s.position, s.offer_id, s.hold_micros, s.features) for s in decision.slots] == [
        (0, "gamma-trip", 20_000, {"category": "travel"}),
        (1, "alpha-shoes", 750_000, {"category": "fashion"}),
    ]
    assert len({len(decision.candidates.offer_id), len(decision.candidates.reason), len(decision.candidates.ecpm_micros), 7}) == 1
    assert decision.stage_us.keys() == {"shopper", "retrieval", "ranking", "auction", "hold"}


def test_everyone_out_is_an_empty_page_with_a_reason(gateway):
    gateway.campaigns.away = True
    answer = gateway.decide(placements=[{"name": "side", "floor_ecpm_micros": 7_000_000}])
    assert answer["placements"] == [{"name": "side", "offers": [], "reason": {"code": 504, "name": "budget_unknown"}}]
