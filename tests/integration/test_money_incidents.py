"""Money that is not as it should be, in a real Redis: which incident it is, what it costs, and that it closes."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
import tomli
from log_entries import MARKET_TOML

from domain.keys import Keys
from features.market import Market, parse_market
from monitoring.incidents import Habits, Incident, IncidentStore, incidents_path, reading
from monitoring.incidents.standing import LASTING_MS, Lasting
from monitoring.incidents.store import MONEY
from monitoring.watch.money import MOST_CAMPAIGNS, MoneyLook
from serving.embedded_redis import EmbeddedRedis

DAY_MS = 86_400_000
DAY = 20_000
BEGIN = DAY * DAY_MS
NOON, MORNING, EVENING = (BEGIN + hour * 3_600_000 for hour in (12, 6, 20))
KEYS = Keys("corner")
REVENUE = 240_000_000
LEDGER = {"interval_s": 60, "accounts": 7, "differences": 0, "difference_micros": 0, "refused": 0, "budgets": 3, "closed": 0}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def client(server: EmbeddedRedis) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(server.url)
    client.flushall()
    client.sadd(KEYS.verified, client.info("server")["run_id"])
    yield client
    client.close()


class Books:
    """Looks at the money again and again."""

    def __init__(self, folder: Path, client: redis.Redis, market: Market | None = None) -> None:
        self.client, self.market = client, market or parse_market(tomli.loads(MARKET_TOML))
        self.store = IncidentStore(incidents_path(folder), Habits(3_600_000))
        self.look, self.lasting = MoneyLook(client, self.market), Lasting()

    def budget(self, campaign: str, day: int, limit: int, spent: int, **more: int) -> None:
        self.client.hset(KEYS.budget(campaign, day), mapping={"limit": limit, "spent": spent, "held": 0} | more)

    def says(self, at_ms: int, **said: object) -> None:
        self.client.hset(KEYS.ledger, mapping=LEDGER | {"at_ms": at_ms, "trouble": ""} | said)  # type: ignore[arg-type]

    def live(self, at_ms: int) -> list[Incident]:
        """After looks until then, over the time that a thing has to last."""
        for at in (at_ms - LASTING_MS, at_ms):
            self.store.observe_standing(MONEY, self.lasting(self.look.look(at, REVENUE), at), at)
        return reading.live_incidents(self.store.connection)


@pytest.fixture
def books(tmp_path: Path, client: redis.Redis) -> Books:
    return Books(tmp_path, client)


def test_books_that_agree_are_no_incident_and_neither_are_books_that_were_never_compared(books: Books) -> None:
    assert books.live(NOON) == []
    books.says(NOON)
    assert books.live(NOON) == []


def test_a_difference_is_an_incident_that_costs_it_and_closes_when_it_is_gone(books: Books) -> None:
    books.says(NOON, differences=2, difference_micros=7_300_000)
    (incident,) = books.live(NOON)
    assert (incident.title, incident.cost_micros_per_day) == ("Log and Redis differ", 7_300_000)
    assert incident.against_usual == "2 campaigns and days on which they do, allowed 0"
    books.says(NOON + 900_000)
    assert books.live(NOON + 900_000) == []


def test_what_is_so_for_a_moment_is_none(books: Books) -> None:
    books.says(NOON, differences=1, difference_micros=5)
    assert books.lasting(books.look.look(NOON, REVENUE), NOON) == []
    books.says(NOON + 60_000)
    assert books.live(NOON + LASTING_MS) == []


def test_closed_budgets_cost_their_share_of_what_a_day_brings(books: Books) -> None:
    books.says(NOON, closed=1)
    (incident,) = books.live(NOON)
    assert (incident.kind, incident.cost_micros_per_day) == ("budgets_closed", REVENUE // 3)


def test_a_server_that_nobody_has_verified_sells_nothing_and_that_is_the_only_incident(books: Books) -> None:
    books.says(NOON, closed=3, trouble="redis: it may have lost data")
    books.client.delete(KEYS.verified)
    (incident,) = books.live(NOON)
    assert (incident.kind, incident.cost_micros_per_day) == ("repair", REVENUE)
    books.client.sadd(KEYS.verified, books.client.info("server")["run_id"], "unfinished")
    (incident,) = books.live(NOON + 2 * LASTING_MS)
    assert (incident.kind, incident.cost_micros_per_day) == ("repair", 0)  # today is sold again


def test_books_that_are_not_compared_any_more_say_so(books: Books) -> None:
    books.says(NOON - 3_600_000)
    (incident,) = books.live(NOON)
    assert incident.title == "Books are not held against Redis"
    assert incident.against_usual == "60 minutes since they last were, at most 3"


def test_more_spent_than_the_budget_is_named_with_its_campaign(books: Books) -> None:
    books.budget("tea", DAY, 100, 130)
    (incident,) = books.live(MORNING)
    assert (incident.title, incident.cost_micros_per_day) == ("More is spent than the budget in campaign tea", 30)
    assert incident.against_usual == "130 % of the day's budget spent, allowed 100 %"


def test_a_campaign_that_could_spend_yesterday_and_does_not_today_is_an_incident(books: Books) -> None:
    books.budget("tea", DAY - 1, 1000, 990)
    books.budget("tea", DAY, 1000, 150, held=50)
    books.budget("wine", DAY - 1, 1000, 400)  # never finds enough demand
    books.budget("wine", DAY, 1000, 100)
    (incident,) = books.live(EVENING)
    assert incident.title == "Spend is off its plan in campaign tea"
    assert incident.against_usual == "20 % of the day's budget spent, planned 83.3 %"
    assert incident.cost_micros_per_day == 760  # of the five sixths of a day
    books.budget("tea", DAY, 1000, 700)
    assert books.live(EVENING + 900_000) == []


@pytest.mark.parametrize("how", [{"pacing": "asap"}, {"pacing": "front_loaded"}, {"day_parts": ["mon-sun 21-24"]}])
def test_a_campaign_that_is_to_spend_early_or_late_is_not_off_its_plan(
    tmp_path: Path, client: redis.Redis, how: dict[str, object]
) -> None:
    said = tomli.loads(MARKET_TOML)
    said["campaigns"] = [c | how if c["id"] == "tea" else c for c in said["campaigns"]]
    books = Books(tmp_path, client, parse_market(said))
    books.budget("tea", DAY - 1, 1000, 1000)
    books.budget("tea", DAY, 1000, 0 if "day_parts" in how else 1000)
    assert books.live(EVENING if "day_parts" in how else MORNING) == []


@pytest.mark.parametrize(
    ("at_ms", "spent", "pending", "off"),
    [
        (MORNING, 10, 0, False),  # too early to tell
        (MORNING, 960, 0, True),  # all gone by six
        (EVENING, 960, 0, False),
        (EVENING, 100, 600, False),  # conversions are on their way
    ],
)
def test_only_what_is_clear_is_told(books: Books, at_ms: int, spent: int, pending: int, off: bool) -> None:
    books.budget("wine", DAY - 1, 1000, 1000)
    books.budget("wine", DAY, 1000, spent, pending=pending)
    assert bool(books.live(at_ms)) is off


def test_a_campaign_that_begins_or_ends_today_has_no_plan_of_a_day(tmp_path: Path, client: redis.Redis) -> None:
    raw = tomli.loads(MARKET_TOML)
    raw["campaigns"][0]["ends"] = datetime.fromtimestamp(EVENING / 1000 + 3600, UTC)
    books = Books(tmp_path, client, parse_market(raw))
    books.budget("tea", DAY - 1, 1000, 1000)
    books.budget("tea", DAY, 1000, 0)
    assert books.live(EVENING) == []


def test_many_campaigns_at_once_are_one_incident(tmp_path: Path, client: redis.Redis) -> None:
    raw = tomli.loads(MARKET_TOML)
    names = [f"c{i}" for i in range(MOST_CAMPAIGNS + 1)]
    raw["campaigns"] += [raw["campaigns"][0] | {"id": name} for name in names]
    books = Books(tmp_path, client, parse_market(raw))
    for name in names:
        books.budget(name, DAY - 1, 1000, 1000)
        books.budget(name, DAY, 1000, 0)
    (incident,) = books.live(EVENING)
    assert (incident.slice.by, incident.cost_micros_per_day) == ("", 1000 * len(names))
    assert incident.detail["campaigns"] == len(names)


def test_a_redis_that_is_away_says_nothing(books: Books) -> None:
    away = MoneyLook(redis.Redis(port=1), books.market)
    with pytest.raises(redis.RedisError):
        away.look(NOON, REVENUE)
