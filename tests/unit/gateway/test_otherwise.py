"""What pages would have been under another policy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from then import Then, of_stream

from domain.errors import OfferRankError
from serving.replay.otherwise import METRICS, Compared, Otherwise, compare, read_policy


def compared(gateway: Any, **changes: Any) -> Compared:
    then, done = Then(gateway), Compared()
    for made in gateway.logged:
        compare(of_stream(made), then, Otherwise(then, changes), done)
    assert not done.refused
    return done


def test_a_higher_reserve_costs_who_does_not_pass_it_and_charges_who_does(gateway):
    gateway.decide()
    done = compared(gateway, reserve_ecpm_micros=22_000_000)
    # gamma is worth 24e6 and pays 22e6 instead of alpha's 20e6, per sale at 0.02 x 0.1; alpha, at 750_000 a click, is gone.
    (page,) = done.pages
    assert page["then"] == [
        {"position": 0, "offer_id": "gamma-trip", "price_micros": 10_000_000},
        {"position": 1, "offer_id": "alpha-shoes", "price_micros": 750_000},
    ]
    assert page["otherwise"] == [{"position": 0, "offer_id": "gamma-trip", "price_micros": 11_000_000}]
    said = done.as_json()["per_page"]
    assert said["revenue_micros"]["then"] == pytest.approx(20_000 + 15_000)
    assert said["revenue_micros"]["otherwise"] == pytest.approx(22_000)
    assert said["value_micros"]["difference"] == pytest.approx(-20_000)
    assert said["filled"]["difference"] == -1


def test_the_same_policy_changes_nothing_and_is_sure_of_it(gateway):
    gateway.campaigns.pacing_multiplier["gamma-sales"] = 0.5
    for _ in range(5):
        gateway.decide()
    done = compared(gateway, epsilon=0.0)
    assert (done.decisions, done.changed) == (5, 0)
    assert all(of["difference"] == 0 and of["interval"] == [0, 0] for of in done.as_json()["per_page"].values())


def test_the_coins_that_fell_meet_the_new_share_of_random_pages(build_gateway, market):
    gateway = build_gateway(
        market.model_copy(update={"policy": market.policy.model_copy(update={"cold_start_epsilon": 0.2, "log_candidates": 0.0})})
    )
    for _ in range(60):
        gateway.decide()
    drawn = sum(made.explored for made in gateway.logged)
    more, fewer = (compared(gateway, cold_start_epsilon=e).as_json()["per_page"]["drawn"] for e in (0.5, 0.05))
    assert more["then"] == fewer["then"] == drawn / 60
    coins = np.array([made.moment["seed"] / 2**32 for made in gateway.logged])
    assert more["otherwise"] == (coins < 0.5).mean()
    assert fewer["otherwise"] == (coins < 0.05).mean()


def test_fewer_candidates_are_ranked_and_others_are_not_paced(gateway):
    gateway.campaigns.pacing_multiplier["alpha-spring"] = 0.5
    gateway.decide()
    done = compared(gateway, max_candidates=2)
    assert done.decisions == 1
    assert len(done.pages[0]["otherwise"]) <= 2


def test_the_interval_is_that_of_a_mean_of_paired_differences():
    rng = np.random.default_rng(1)
    then, otherwise = rng.normal(10, 3, (2, 400, len(METRICS)))
    done = Compared(400, 0, then.sum(0), otherwise.sum(0), ((otherwise - then) ** 2).sum(0))
    said = done.as_json()["per_page"]["revenue_micros"]
    apart = otherwise[:, 0] - then[:, 0]
    half = 1.959964 * apart.std(ddof=1) / 20
    assert said["interval"] == pytest.approx([apart.mean() - half, apart.mean() + half])
    # Parts of the log add up.
    halves = [
        Compared(200, 0, a.sum(0), b.sum(0), ((b - a) ** 2).sum(0))
        for a, b in ((then[:200], otherwise[:200]), (then[200:], otherwise[200:]))
    ]
    halves[0] += halves[1]
    assert halves[0].as_json()["per_page"]["filled"]["interval"] == pytest.approx(
        done.as_json()["per_page"]["filled"]["interval"]
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [("hold_ttl_s = 5", "hold_ttl_s"), ("", "nothing"), ("epsilon =", "TOML"), ("[market]\nx = 1", "market")],
)
def test_what_a_replay_cannot_tell_of_is_refused(tmp_path: Path, text: str, says: str):
    (tmp_path / "policy.toml").write_text(text)
    with pytest.raises(OfferRankError, match=says):
        read_policy(tmp_path / "policy.toml")


def test_a_whole_market_file_gives_its_policy_and_a_value_out_of_range_is_named(tmp_path, gateway):
    (tmp_path / "market.toml").write_text('name = "x"\n[policy]\nid = "other"\nepsilon = 2\nhold_ttl_s = 60\n')
    changes = read_policy(tmp_path / "market.toml")
    assert changes == {"epsilon": 2}
    gateway.decide()
    done, then = Compared(), Then(gateway)
    compare(of_stream(gateway.logged[0]), then, Otherwise(then, changes), done)
    assert "policy.epsilon" in next(iter(done.refused))
