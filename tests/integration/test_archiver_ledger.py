"""The ledger: charges in the log against budgets in Redis, to the micro, partly archived and partly still in the stream."""

from pathlib import Path

import pytest
import redis
from log_entries import MARKET_TOML, event_fields

from domain.keys import PARTITIONS, Keys, partition_of
from features.market import Market, load_market
from serving.archiver import reconcile
from serving.archiver.ledger import Account
from serving.archiver.rows import log_formats
from serving.archiver.stream import LogArchiver

KEYS = Keys("corner")


@pytest.fixture
def market(tmp_path: Path) -> Market:
    path = tmp_path / "market.toml"
    path.write_text(MARKET_TOML)
    return load_market(path)


def charge(client: "redis.Redis", campaign: str, day: int, micros: int, impression: str) -> None:
    client.hincrby(KEYS.budget(campaign, day), "spent", micros)
    offer = {"tea": "green", "wine": "red"}[campaign]
    stream = KEYS.events(partition_of(campaign))
    client.xadd(stream, event_fields("click", impression, "d", 5, offer, charged_micros=micros, day=day))


def archive_events(client: "redis.Redis", market: Market, log_dir: Path) -> None:
    events, _ = log_formats(market)
    archiver = LogArchiver(client, [KEYS.events(p) for p in range(PARTITIONS)], events, log_dir, 1000)
    archiver.read()
    assert len(archiver.flush()) == 1


def test_archive_and_tail_together_match_what_was_spent(redis_url: str, market: Market, tmp_path: Path) -> None:
    log_dir = tmp_path / "log"
    with redis.Redis.from_url(redis_url) as client:
        charge(client, "tea", 3, 250_000, "a")
        charge(client, "wine", 3, 4_000_000, "b")
        client.xadd(KEYS.events(partition_of("tea")), event_fields("impression", "a", "d", 5, day=3))
        archive_events(client, market, log_dir)
        charge(client, "tea", 3, 1, "c")
        charge(client, "tea", 4, 30, "d")
        charge(client, "tea", 4, -20, "d")  # an order was returned
        client.hset(KEYS.budget("own", 4), "held", 7)
        result = reconcile(client, market, log_dir)
        assert result.accounts == (
            Account("tea", 3, 250_001, 250_001),
            Account("wine", 3, 4_000_000, 4_000_000),
            Account("own", 4, 0, 0),
            Account("tea", 4, 10, 10),
        )
        assert (result.differences, result.charged_micros) == ((), 4_250_011)


def test_a_micro_too_many_or_an_account_that_is_gone_is_a_difference(redis_url: str, market: Market, tmp_path: Path) -> None:
    with redis.Redis.from_url(redis_url) as client:
        charge(client, "tea", 3, 250_000, "a")
        charge(client, "wine", 3, 500_000, "b")
        charge(client, "wine", 4, 600_000, "c")
        client.hincrby(KEYS.budget("tea", 3), "spent", 1)
        client.delete(KEYS.budget("wine", 3))
        result = reconcile(client, market, tmp_path / "log")
        assert reconcile(client, market, tmp_path / "log", since_day=4).accounts == (Account("wine", 4, 600_000, 600_000),)
        assert result.differences == (Account("tea", 3, 250_000, 250_001), Account("wine", 3, 500_000, 0))


def test_an_empty_market_has_no_accounts(redis_url: str, market: Market, tmp_path: Path) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert reconcile(client, market, tmp_path / "log").accounts == ()
