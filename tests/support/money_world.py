"""A market whose Redis loses things, and what is left to repair it from."""

import json
import shutil
from pathlib import Path

from archiving import EventArchiver
from money_path import MARKET, MoneyPath
from open_market import begin_archive, let_in

from domain.events import EventStatus, EventType
from domain.keys import Keys
from features.market import Market
from serving.embedded_redis import EmbeddedRedis
from serving.ledger.keeper import LedgerKeeper
from serving.repair.repair import Repair

KEYS = Keys(MARKET.name)
DAY_MS = MARKET.policy.day_length_s * 1000


class World:
    """A market whose Redis may lose things: what is accepted, archived, and in the books."""

    def __init__(self, url: str, log_dir: Path, market: Market = MARKET) -> None:
        self.market, self.url, self.log_dir = market, url, begin_archive(log_dir, market.name)
        self.connect()
        let_in(self.money.raw, market.name)
        self.money.open(*range(min(self.days.values()) - 1, max(self.days.values()) + 2))

    def connect(self) -> None:
        """After a restart."""
        self.money = MoneyPath(self.url, self.market, now_ms=None)
        self.archiver = EventArchiver(self.url, self.market, self.log_dir)
        self.keeper = LedgerKeeper(self.archiver.client, self.market, self.log_dir)

    def disconnect(self) -> None:
        self.keeper.close()
        self.archiver.close()
        self.money.__exit__()

    @property
    def today(self) -> int:
        return self.money.at_ms // DAY_MS

    @property
    def days(self) -> dict[str, int]:
        return {c.id: self.money.day(c.id) for c in self.market.campaigns}

    def archive(self, retention_ms: int = 600_000) -> None:
        self.archiver.archive(retention_ms)
        self.keeper.catch_up()

    def repair(self) -> None:
        self.done = Repair(self.money.raw, self.market, self.log_dir).run()

    def budget(self, campaign: str, day: int | None = None) -> dict[str, str]:
        return self.money.raw.hgetall(KEYS.budget(campaign, self.today if day is None else day))

    def state(self) -> dict[str, object]:
        """All money of the market but the streams."""
        raw, found = self.money.raw, {}
        for key in sorted(raw.scan_iter(match="or:{*")):
            if raw.type(key) == "hash" and (":imp:" in key or ":budget:" in key):
                found[key] = raw.hgetall(key)
            elif ":due:" in key:
                waiting = map(json.loads, raw.lrange(key, 0, -1))
                found[key] = [(*one[:5], dict(zip(one[5::2], one[6::2], strict=True))) for one in waiting]
        found |= {key: raw.get(key) for key in raw.scan_iter(match="*:order:*")}
        return found


def click(
    world: World, decision: str, campaign: str = "alpha-spring", micros: int = 250_000, **changes: object
) -> tuple[EventStatus, int]:
    one = world.money.sold(decision, campaign, micros, **changes)
    world.money.hold(one)
    world.money.report(EventType.IMPRESSION, one)
    return world.money.report(EventType.CLICK, one)


def lose_everything(world: World, server: EmbeddedRedis) -> None:
    server.kill()
    for left in server.directory.glob("*.aof*"):
        left.unlink() if left.is_file() else shutil.rmtree(left)
    for left in server.directory.glob("appendonlydir"):
        shutil.rmtree(left)
    restart(world, server)


def restart(world: World, server: EmbeddedRedis) -> None:
    server.kill()
    server.start()
    world.disconnect()
    world.connect()
