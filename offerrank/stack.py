"""The processes of one OfferRank on one machine: which ports, folders and settings each is given."""

import json
import secrets
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from catalogue.address import sqlite_url
from domain.addresses import host_port
from domain.errors import ContractError, IncompleteRelease
from features.market import Market, load_market
from models.release import versions
from models.release_folder import Newest, newest_usable
from offerrank.ports import PortsKept
from offerrank.processes import Service, Supervisor
from serving.embedded_redis import EmbeddedRedis
from serving.gateway.settings import WILDCARDS
from store.key_records import Role, changing, new_text, record_of
from store.keyring import LOCAL_ORIGINS

HOST = "127.0.0.1"
EMBEDDED = (Role.PUBLISHER, Role.SERVER, Role.OPERATOR)
GATEWAY_READY_S = 60.0
MODEL_SERVER_READY_S = 180.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything of one run is."""

    market: Path
    run_dir: Path
    releases: Path
    host: str
    gateway_port: int
    monitor_port: int
    model_grpc_port: int
    model_rest_port: int
    redis_port: int
    operator_port: int
    campaign_port: int
    kept: PortsKept = field(default_factory=PortsKept, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        market: Path,
        run_dir: Path,
        releases: Path | None = None,
        host: str = HOST,
        port: int = 8080,
        monitor_port: int = 8081,
        campaign_port: int = 8084,
    ) -> "Plan":
        """Takes the ports asked for, or the next free ones, and keeps them as long as the plan lives.

        Raises:
          Unavailable: no port is free near one asked for.
        """
        kept = PortsKept()
        return cls(
            market=market.resolve(),
            run_dir=run_dir.resolve(),
            releases=(releases or run_dir / "releases").resolve(),
            host=host,
            gateway_port=kept.take(port, host),
            monitor_port=kept.take(monitor_port),
            model_grpc_port=kept.take(8500),
            model_rest_port=kept.take(8501),
            redis_port=kept.take(6390),
            operator_port=kept.take(port + 2 if port < 65_000 else 8082),
            campaign_port=kept.take(campaign_port),
            kept=kept,
        )

    @property
    def log_dir(self) -> Path:
        """Root of the archive."""
        return self.run_dir / "log"

    @property
    def gateway_url(self) -> str:
        """Where decisions are asked for, from this machine."""
        host = HOST if self.host in WILDCARDS else self.host
        return f"http://{host_port(host, self.gateway_port)}"

    @property
    def operator_url(self) -> str:
        """Where the gateway's metrics and API document are."""
        return f"http://{HOST}:{self.operator_port}"

    @property
    def monitor_url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.monitor_port}"

    @property
    def campaign_url(self) -> str:
        """Where the campaign API is."""
        return f"http://{HOST}:{self.campaign_port}"


class Stack:
    """Starts the processes of a plan, in the order that serves decisions soonest.

    Args:
      settings: further environment variables for all of them.
    Raises:
      InvalidMarket: the market cannot be used.
    """

    def __init__(self, plan: Plan, supervisor: Supervisor, settings: Mapping[str, str] | None = None) -> None:
        self.plan = plan
        self.supervisor = supervisor
        self.market: Market = load_market(plan.market, listed=False)
        self.redis = EmbeddedRedis(plan.run_dir / "redis", plan.redis_port)
        self.keys = embedded_keys(plan.run_dir)
        self.environment = {
            "OFFERRANK_MARKET": str(plan.market),
            "OFFERRANK_CATALOGUE": sqlite_url(plan.run_dir / "catalogue.sqlite"),
            "OFFERRANK_CATALOGUE_SNAPSHOT": str(plan.run_dir / "catalogue"),
            "OFFERRANK_REDIS_URL": self.redis.url,
            "OFFERRANK_MODEL_SERVER": f"{HOST}:{plan.model_grpc_port}",
            "OFFERRANK_RELEASES": str(plan.releases),
            "OFFERRANK_LOG_DIR": str(plan.log_dir),
            "OFFERRANK_JOURNAL_DIR": str(plan.run_dir / "journal"),
            "OFFERRANK_GATEWAY_URL": plan.gateway_url,
            "OFFERRANK_SECRET": _secret(plan.run_dir / "secret"),
            "OFFERRANK_KEYS": str(plan.run_dir / "keys.jsonl"),
            "OFFERRANK_HOST": HOST,
            "TF_USE_LEGACY_KERAS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "2",
            **(settings or {}),
        }
        plan.releases.mkdir(parents=True, exist_ok=True)
        plan.log_dir.mkdir(parents=True, exist_ok=True)

    def start_serving(self) -> None:
        """Redis and the gateway: from here on decisions are answered, by the cold-start policy if need be.

        Raises:
          Unavailable: one of them did not get ready; shows the end of its log.
        """
        log = self.redis.directory / "redis.log"
        self.supervisor.start(Service("redis", self._launch_redis, lambda: True, log, self.plan.redis_port))
        self.supervisor.wait_ready("redis", 15)
        listens = {"OFFERRANK_HOST": self.plan.host, "OFFERRANK_OPERATOR_PORT": str(self.plan.operator_port)}
        self._start("gateway", ["gateway"], self.plan.gateway_port, lambda: answers(f"{self.plan.gateway_url}/healthz"), listens)
        self.supervisor.wait_ready("gateway", GATEWAY_READY_S)

    def start_others(self) -> None:
        """Pacer, archiver, watch, monitor, campaign API and model server; does not wait for them."""
        self.start_writers()
        self.start_watching()
        self.start_campaigns()
        self.start_model_server()

    def start_writers(self) -> None:
        """Pacer and archiver, which work behind the gateway's back."""
        self._start("archiver", ["archiver"], None, lambda: True)  # first: the pacer waits for it before it opens budgets
        self._start("pacer", ["pacer"], None, lambda: True)

    def start_watching(self) -> None:
        """Watch and page, which only read."""
        self._start("watch", ["watch"], None, lambda: True)
        self._start("monitor", ["monitor"], self.plan.monitor_port, lambda: answers(f"{self.plan.monitor_url}/"))

    def start_campaigns(self) -> None:
        """The campaign API."""
        self._start(
            "campaign-api", ["campaign-api"], self.plan.campaign_port, lambda: answers(f"{self.plan.campaign_url}/healthz")
        )

    def start_model_server(self) -> None:
        """The model server alone; it takes some seconds to load TensorFlow."""
        plan = self.plan
        arguments = ["model-server", "--model-base-path", str(plan.releases)]
        arguments += ["--port", str(plan.model_grpc_port), "--rest-port", str(plan.model_rest_port)]
        service = self.supervisor.python("model-server", arguments, self.environment, lambda: True, plan.model_grpc_port)
        self.supervisor.start(service)

    def check_releases(self) -> Newest:
        """The newest release that can rank; newer ones that are damaged or not wholly there are passed over.

        Raises:
          ContractError: there are releases, all of them are damaged or for another market; says how for the newest.
        """
        newest = newest_usable(self.plan.releases, self.market)
        damaged = [e for e in newest.passed_over if not isinstance(e, IncompleteRelease)]
        if newest.release is None and damaged:
            raise damaged[0]
        return newest

    def active_release(self) -> str | None:
        """The release that ranks now, according to the gateway; none while it is the cold-start policy."""
        try:
            with urllib.request.urlopen(f"{self.plan.gateway_url}/readyz", timeout=2) as response:
                release = json.loads(response.read())["release"]
        except (urllib.error.URLError, OSError, ValueError, KeyError):
            return None
        return None if release in (None, "cold-start") else str(release)

    def _start(
        self,
        name: str,
        arguments: list[str],
        port: int | None,
        ready: Callable[[], bool],
        listens: Mapping[str, str] | None = None,
    ) -> None:
        environment = self.environment | ({"OFFERRANK_PORT": str(port)} if port else {}) | dict(listens or {})
        self.supervisor.start(self.supervisor.python(name, arguments, environment, ready, port))

    def _launch_redis(self) -> subprocess.Popen[bytes]:
        process = self.redis.start().process
        assert process is not None
        return process


def releases_of(given: Path, run_dir: Path) -> Path:
    """The folder of versions that `--release` means: itself, or one that holds nothing but the version given.

    Raises:
      ContractError: there is no release; says what was found.
    """
    given = given.resolve()
    if not given.is_dir():
        raise ContractError(f"--release {given}: no such folder; `offerrank train --out DIR` makes one")
    if versions(given):
        return given
    if given.name.isdigit() and versions(given.parent):
        only = run_dir / "releases"
        only.mkdir(parents=True, exist_ok=True)
        for old in only.iterdir():
            if old.is_symlink():
                old.unlink()
        (only / given.name).symlink_to(given)
        return only
    found = sorted(p.name for p in given.iterdir())[:8]
    raise ContractError(
        f"--release {given}: expected a release, or a folder of releases named by version, found {found or 'nothing'}"
    )


def answers(url: str) -> bool:
    """Whether a GET is answered with success."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status < 400)
    except (urllib.error.URLError, OSError):
        return False


def embedded_keys(run_dir: Path) -> dict[Role, str]:
    """One key for each side of the gateway, so that nothing needs to be set up: each in a file `<role>-key`, all in `keys.jsonl`.

    The publisher's is for pages that a developer serves on this machine.

    Raises:
      InvalidKeys: `keys.jsonl` is damaged.
    """
    texts = {role: _secret(run_dir / f"{role}-key", partial(new_text, role)) for role in EMBEDDED}
    with changing(run_dir / "keys.jsonl") as records:
        known = {r.sha256 for r in records}
        for role, text in texts.items():
            origins = LOCAL_ORIGINS if role is Role.PUBLISHER else ()
            record = record_of(text, f"embedded-{role}", role, datetime.now(UTC), origins=origins)
            if record.sha256 not in known:
                records.append(record)
    return texts


def _secret(path: Path, make: Callable[[], str] = secrets.token_urlsafe) -> str:
    """A random secret of this run folder, so that URLs signed before a restart stay valid."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(make(), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()
