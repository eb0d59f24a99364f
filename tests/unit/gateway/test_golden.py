"""Golden decisions: tests/golden/decisions/*.json hold what was given, the request, the answer and the logged decision.

After a change that is meant, `OFFERRANK_WRITE_GOLDEN=1 pytest tests/unit/gateway/test_golden.py` writes them anew; the
difference is then for the reviewer to read.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from domain.errors import Unavailable

DECISIONS = Path(__file__).resolve().parents[2] / "golden" / "decisions"
OPERATOR = {"authorization": "Bearer operator-key"}


def arrange(build_gateway: Any, market: Any, given: dict[str, Any]) -> Any:
    """A gateway in the state a golden file describes."""
    policy = market.policy.model_copy(update=given.get("policy", {}))
    gateway = build_gateway(market.model_copy(update={"policy": policy}), seed=given.get("seed", 1))
    gateway.shoppers.by_key = given.get("shoppers", {})
    gateway.campaigns.committed_micros = dict(given.get("committed_micros", {}))
    gateway.budgets.committed_micros = dict(given.get("held_since_micros", given.get("committed_micros", {})))
    gateway.campaigns.pacing_multiplier = given.get("pacing_multiplier", {})
    gateway.shoppers.away = gateway.campaigns.away = gateway.budgets.away = "redis" in given.get("away", [])
    if "ctr_by_category" in given:
        gateway.serve_release()
        ctr = given["ctr_by_category"]
        gateway.model.outputs = lambda _, inputs: {
            "ctr": np.array([ctr[c.decode()] for c in inputs["category"]], np.float32),
            "cvr": np.full(len(inputs["category"]), given["cvr"], np.float32),
        }
    if "ranker" in given.get("away", []):
        gateway.model.error = Unavailable("ranker", "refused")
    return gateway


def readable(answer: dict[str, Any], gateway: Any) -> dict[str, Any]:
    """The answer, with what each token says in the token's place and without times that vary."""
    for placement in answer["placements"]:
        for offer in placement["offers"]:
            token = offer["token"]
            offer["token"] = asdict(gateway.tokens.read(token))
            offer["impression_url"] = offer["impression_url"].replace(token, "<token>")
            offer["click_url"] = offer["click_url"].replace(token, "<token>")
    if "explain" in answer:
        del answer["explain"]["stage_us"]
    return answer


@pytest.mark.parametrize("path", sorted(DECISIONS.glob("*.json")), ids=lambda p: p.stem)
def test_golden(path, build_gateway, market):
    golden = json.loads(path.read_text())
    gateway = arrange(build_gateway, market, golden["given"])
    response = gateway.call("POST", "/v1/decisions", json=golden["request"], headers=OPERATOR)
    assert response.status_code == 200, response.text
    (decision,) = gateway.logged
    logged = json.loads(orjson.dumps(decision))
    del logged["stage_us"], logged["total_us"]
    found = golden | {"answer": readable(response.json(), gateway), "decision": logged}
    if os.environ.get("OFFERRANK_WRITE_GOLDEN"):
        path.write_text(json.dumps(found, indent=2) + "\n")
    assert found == golden


def test_there_is_a_golden_decision_of_each_kind():
    assert [p.stem for p in sorted(DECISIONS.glob("*.json"))] == [
        "all_out_is_no_fill",
        "caps_targeting_and_schedule",
        "cold_start_explores",
        "cold_start_priors",
        "floors",
        "full_budget",
        "pacing",
        "ranker_away",
        "redis_away",
        "release_ranks",
        "winner_without_room",
    ]
