"""Which release ranks: the newest that is whole, fits the market, and is served by the model server."""

import asyncio
import shutil
from pathlib import Path

import pytest
import redis
import whole_release
from prometheus_client import REGISTRY

from domain.errors import Unavailable
from domain.keys import Keys
from features.market import load_market
from models import release as layout
from models.calibration import Platt
from models.examination import ExaminationCurve
from models.turns import Tried, Turns, write_turns
from monitoring import metrics
from serving.gateway.adapters.redis_link import RedisLink
from serving.gateway.adapters.releases import FolderReleases
from serving.gateway.market_view import MarketView

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "market.toml"
MARKET = load_market(GOLDEN)
VIEW = MarketView.of(MARKET)


def write_release(base: Path, version: int, market=MARKET, examination: ExaminationCurve | None = None) -> Path:
    return whole_release.write_release(base, version, GOLDEN, market, examination)


class Server:
    """A model server, as far as its status goes."""

    def __init__(self) -> None:
        self.served: list[int] = []
        self.away = False

    async def available_versions(self, timeout_s: float) -> list[int]:
        if self.away:
            raise Unavailable("ranker", "refused")
        return self.served


class Follower:
    """A folder, a server, and looks at both."""

    def __init__(self, base: Path, url: str) -> None:
        self.base = base
        self.server = Server()
        self.loop = asyncio.new_event_loop()
        self.link = RedisLink(url)
        self.releases = FolderReleases(base, VIEW, self.server, self.link, Keys(MARKET.name))

    def look(self, now_ms: int = 1000) -> int | None:
        self.loop.run_until_complete(self.releases.refresh(now_ms))
        return self.releases.active().version


@pytest.fixture
def follower(tmp_path, redis_url):
    follower = Follower(tmp_path, redis_url)
    yield follower
    follower.loop.run_until_complete(follower.link.close())
    follower.loop.close()


def test_a_release_ranks_once_the_server_serves_it(follower, redis_url):
    assert follower.look() is None
    write_release(follower.base, 100)
    assert follower.look() is None
    follower.server.served = [100]
    assert follower.look(now_ms=5000) == 100
    active = follower.releases.active()
    assert active.calibrator.tasks["ctr"].curve == Platt(slope=1.1)
    assert active.retriever.ann is not None
    write_release(follower.base, 200)
    assert follower.look() == 100
    follower.server.served = [100, 200]
    assert follower.look(now_ms=7000) == 200
    assert follower.look(now_ms=9000) == 200
    with redis.Redis.from_url(redis_url) as client:
        assert client.hgetall(Keys(MARKET.name).releases) == {b"100": b"5000", b"200": b"7000"}


def test_trainings_that_brought_no_release_are_in_the_metrics(follower):
    def shown() -> list[float | None]:
        kinds = [{"training": t, "outcome": o} for t in ("full", "incremental") for o in ("refused", "failed")]
        return [REGISTRY.get_sample_value("offerrank_trainings_without_release", kind) for kind in kinds]

    write_turns(follower.base, Turns(full=Tried(refused=2), incremental=Tried(failed=1)))
    follower.look()
    assert shown() == [2, 0, 0, 1]
    write_turns(follower.base, Turns())
    follower.look()
    assert shown() == [0, 0, 0, 0]


def corrupt_calibrator(folder: Path) -> None:
    (folder / layout.CALIBRATOR).write_text("{}")


def corrupt_index(folder: Path) -> None:
    path = folder / layout.INDEX
    path.write_bytes(path.read_bytes()[:-7] + b"garbage")


def no_manifest(folder: Path) -> None:
    (folder / layout.MANIFEST).unlink()


def only_a_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize("damage", [corrupt_calibrator, corrupt_index, no_manifest, only_a_folder])
def test_a_damaged_release_never_ranks(follower, damage):
    write_release(follower.base, 100)
    follower.server.served = [100]
    assert follower.look() == 100
    damage(write_release(follower.base, 200))
    follower.server.served = [100, 200]
    assert follower.look(now_ms=5_000) == 100
    # One that lacks a file or a part of one may be on its way, until nothing has changed for half a minute.
    assert list(follower.releases.rejected) == ([200] if damage is corrupt_index else [])
    assert follower.look(now_ms=34_999) == 100
    assert follower.look(now_ms=35_000) == 100
    assert list(follower.releases.rejected) == [200]


def test_a_release_brings_what_it_knows_of_positions(follower):
    write_release(follower.base, 100)
    curve = ExaminationCurve(seen=(1.0, 0.6), by={"country": {"values": {"GB": (1.0, 0.5)}, "other": (1.0, 1.0)}})
    write_release(follower.base, 200, examination=curve)
    follower.server.served = [100]
    assert follower.look() == 100
    assert follower.releases.active().examination is None
    follower.server.served = [100, 200]
    assert follower.look() == 200
    assert follower.releases.active().examination == curve


@pytest.mark.parametrize("share", ["0.0", "NaN", "-1.0", "1e9", "null"])
def test_a_release_with_positions_that_no_page_has_never_ranks(follower, share):
    write_release(follower.base, 100)
    manifest = write_release(follower.base, 200, examination=ExaminationCurve(seen=(1.0, 0.625))) / layout.MANIFEST
    manifest.write_text(manifest.read_text().replace("0.625", share))
    follower.server.served = [100, 200]
    assert follower.look() == 100
    assert "examination" in follower.releases.rejected[200]


@pytest.mark.parametrize("order", ["manifest first", "manifest last", "large files first"])
def test_a_release_that_is_copied_slowly_ranks_once_it_is_whole_and_is_never_rejected(follower, tmp_path, order):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    whole = write_release(elsewhere, 100)
    files = sorted((p for p in whole.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size, reverse=True)
    if order != "large files first":
        files.sort(key=lambda p: (p == whole / layout.MANIFEST) == (order == "manifest last"))
    follower.server.served = [100]
    before = metrics.RELEASES_REJECTED._value.get()
    now_ms = 0
    for path in files:
        copy = follower.base / "100" / path.relative_to(whole)
        copy.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        for end in (len(content) // 2, len(content)):
            assert follower.look(now_ms) is None
            copy.write_bytes(content[:end])
            now_ms += 20_000  # slower than the patience for all of it, not for a part
    assert follower.look(now_ms) == 100
    assert follower.releases.rejected == {}
    assert metrics.RELEASES_REJECTED._value.get() == before


def test_a_rejected_release_that_is_repaired_ranks(follower):
    folder = write_release(follower.base, 100)
    whole = (folder / layout.INDEX).read_bytes()
    corrupt_index(folder)
    follower.server.served = [100]
    before = metrics.RELEASES_REJECTED._value.get()
    assert [follower.look(), follower.look(), follower.look()] == [None] * 3
    assert "offers.usearch: content differs" in follower.releases.rejected[100]
    assert metrics.RELEASES_REJECTED._value.get() == before + 1  # told once, not every second
    (folder / layout.INDEX).write_bytes(whole)
    assert follower.look() == 100
    assert follower.releases.rejected == {}


def test_a_release_for_other_features_never_ranks(follower):
    other = MARKET.model_copy(update={"features": MARKET.features[1:]})
    write_release(follower.base, 100, market=other)
    follower.server.served = [100]
    assert follower.look() is None
    assert "country" in follower.releases.rejected[100]


def test_when_the_newest_vanishes_the_older_ranks_again(follower):
    for version in (100, 200):
        write_release(follower.base, version)
    follower.server.served = [100, 200]
    assert follower.look() == 200
    shutil.rmtree(follower.base / "200")
    follower.server.served = [100]
    assert follower.look() == 100
    shutil.rmtree(follower.base / "100")
    follower.server.served = []
    assert follower.look() is None


def test_a_server_that_gave_up_the_newest_is_followed_to_the_older(follower):
    for version in (100, 200):
        write_release(follower.base, version)
    follower.server.served = [100, 200]
    assert follower.look() == 200
    follower.server.served = [100]
    assert follower.look() == 100


def test_a_server_that_is_away_changes_nothing(follower):
    write_release(follower.base, 100)
    follower.server.served = [100]
    assert follower.look() == 100
    follower.server.away = True
    assert follower.look() == 100
    follower.server.away = False
    follower.server.served = []  # started again, still loading
    assert follower.look() == 100


def test_the_folder_need_not_exist_yet(follower):
    follower.base.rmdir()
    assert follower.look() is None


def test_the_first_serving_is_recorded_once_redis_is_there(tmp_path, own_redis):
    follower = Follower(tmp_path / "releases", own_redis.url)
    follower.base.mkdir()
    write_release(follower.base, 100)
    follower.server.served = [100]
    own_redis.stop()
    assert follower.look(now_ms=5000) == 100
    own_redis.start()
    follower.loop.run_until_complete(asyncio.sleep(0.3))
    follower.look(now_ms=8000)
    with redis.Redis.from_url(own_redis.url) as client:
        assert client.hgetall(Keys(MARKET.name).releases) == {b"100": b"5000"}
    follower.loop.run_until_complete(follower.link.close())
    follower.loop.close()
