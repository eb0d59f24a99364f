"""Explaining in a process of its own: what its end means to whoever asked."""

import asyncio
from pathlib import Path

import pytest

from serving.gateway.adapters.explainer import Explainer
from serving.gateway.settings import GatewaySettings
from serving.gateway.wire import HttpError

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "market.toml"


def explainer(log_dir: Path) -> Explainer:
    return Explainer(
        GatewaySettings(market=GOLDEN, secret="a secret of tests", log_dir=log_dir, redis_url="redis://127.0.0.1:1/0")
    )


def test_a_decision_that_is_nowhere_is_a_404_that_says_where_was_looked(tmp_path: Path) -> None:
    with pytest.raises(HttpError) as refused:
        asyncio.run(explainer(tmp_path).explained("page-1"))
    assert refused.value.status == 404
    assert str(tmp_path) in refused.value.message
    assert "not archived yet" in refused.value.message  # Redis is away


@pytest.mark.parametrize("decision_id", ["a\0b", "a\nb", "x" * 2000])
def test_what_can_be_no_id_starts_no_process(tmp_path: Path, decision_id: str) -> None:
    with pytest.raises(HttpError) as refused:
        asyncio.run(explainer(tmp_path).explained(decision_id))
    assert refused.value.status == 404


def test_one_at_a_time(tmp_path: Path) -> None:
    async def two() -> list[object]:
        one = explainer(tmp_path)
        return await asyncio.gather(one.explained("page-1"), one.explained("--help"), return_exceptions=True)

    statuses = [e.status for e in asyncio.run(two()) if isinstance(e, HttpError)]
    assert statuses == [404, 503]
