"""Training and serving agree: the same row and offer get the same calibrated pCTR from the API as from the evaluation."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from features.market import Market, load_market
from models.release import EVAL_PREDICTIONS, calibrated_column
from serving.embedded_redis import free_port
from tests.integration.conftest import TrainedRelease

REPOSITORY = Path(__file__).resolve().parents[2]
MARKET = REPOSITORY / "examples/coupons/market.toml"
ROWS = 600


@pytest.fixture(scope="module")
def gateway(coupon_release: TrainedRelease, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URL and operator key of what the documented `offerrank serve` command starts."""
    run_dir = tmp_path_factory.mktemp("serve")
    command = [sys.executable, "-m", "offerrank", "serve", "--market", str(MARKET), "--release", str(coupon_release.releases)]
    command += ["--dir", str(run_dir), "--port", str(free_port()), "--monitor-port", str(free_port())]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as serve:
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
        yield url, (run_dir / "operator-key").read_text().strip()
        serve.send_signal(signal.SIGINT)
        rest, _ = serve.communicate(timeout=60)
        assert serve.returncode == 0, rest


def test_the_api_predicts_what_the_evaluation_did(gateway: tuple[str, str], coupon_release: TrainedRelease) -> None:
    url, operator_key = gateway
    market = load_market(MARKET)
    rows = pq.read_table(coupon_release.path / EVAL_PREDICTIONS).slice(0, ROWS).to_pylist()
    assert len(rows) == ROWS
    worst = 0.0
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {operator_key}"}, timeout=10) as http:
        for row in rows:
            answer = http.post("/v1/decisions", json=_request(market, row))
            assert answer.status_code == 200, answer.text
            body = answer.json()
            assert body["release"] == str(coupon_release.version)
            assert body["degraded"] == []
            served = {c["offer_id"]: c["probability"]["ctr"] for c in body["explain"]["candidates"]}
            worst = max(worst, abs(served[_offer_of(market, row)] - row[calibrated_column("ctr")]))
    assert worst <= 1e-5


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
