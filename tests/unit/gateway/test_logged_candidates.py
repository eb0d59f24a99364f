"""Which candidates a decision is logged with, and that nothing is biased by those left out."""

from collections import Counter
from typing import Any

import pytest

from domain.outcome import Reason
from features.market import Market


def logging(build_gateway: Any, market: Market, share: float, seed: int = 1, **policy: object) -> Any:
    changed = market.policy.model_copy(update={"log_candidates": share, **policy})
    return build_gateway(market.model_copy(update={"policy": changed}), seed=seed)


def test_where_it_is_not_drawn_the_winners_are_listed_and_the_others_counted(build_gateway: Any, market: Market) -> None:
    gateway = logging(build_gateway, market, 0.0)
    whole = logging(build_gateway, market, 1.0)
    answers = [g.decide(explain=True) for g in (gateway, whole)]
    (few,), (all_) = gateway.logged, whole.logged[0]
    log, everything = few.candidates, all_.candidates
    assert few.slots == all_.slots
    assert log.offer_id == [s.offer_id for s in few.slots]
    assert log.probability == {task: [s.probability[task] for s in few.slots] for task in log.probability}
    assert (log.ecpm_micros, set(log.reason)) == ([s.ecpm_micros for s in few.slots], {Reason.WON})
    lost = Counter(Reason(r).name.lower() for r in everything.reason if r != Reason.WON)
    assert lost
    assert (log.weight, log.unlisted) == (0.0, lost)
    assert (everything.weight, everything.unlisted) == (1.0, {})
    # The explainer sees all of them whatever is logged.
    assert len(answers[0]["explain"]["candidates"]) == len(answers[1]["explain"]["candidates"]) == len(everything.offer_id)


def test_an_explored_decision_is_always_whole(build_gateway: Any, market: Market) -> None:
    gateway = logging(build_gateway, market, 0.0, cold_start_epsilon=1.0)
    gateway.decide()
    (made,) = gateway.logged
    assert made.explored
    assert (made.candidates.weight, made.candidates.unlisted) == (1.0, {})
    assert len(made.candidates.offer_id) > len(made.slots)


@pytest.mark.parametrize("share", [0.25, 0.6])
def test_the_listed_candidates_times_their_weight_are_all_candidates(build_gateway: Any, market: Market, share: float) -> None:
    gateway = logging(build_gateway, market, share, cold_start_epsilon=0.3)
    pages = 400
    for _ in range(pages):
        gateway.decide()
    made = gateway.logged
    assert {m.candidates.weight for m in made} == {0.0, 1.0, 1 / share}
    estimate = sum(m.candidates.weight * len(m.candidates.offer_id) for m in made)
    exact = sum(len(m.candidates.offer_id) + sum(m.candidates.unlisted.values()) for m in made)
    # Every page has the same N candidates; those not explored are a Bernoulli sample weighted by 1 / share, so the estimate's
    # standard error is N sqrt(pages (1 - share) / share) at most.
    assert abs(estimate - exact) < 4 * exact / pages * (pages * (1 - share) / share) ** 0.5
