"""The processes of one OfferRank on one machine: which ports, folders and settings each is given."""

import json
import secrets
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from domain.errors import ContractError, IncompleteRelease
from features.market import Market, load_market
from models.release import versions
from models.release_folder import Newest, newest_usable
from offerrank.ports import accepts_connections, port_from
from offerrank.processes import Service, Supervisor
from serving.embedded_redis import EmbeddedRedis

HOST = "127.0.0.1"
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

    @classmethod
    def of(
        cls,
        market: Path,
        run_dir: Path,
        releases: Path | None = None,
        host: str = HOST,
        port: int = 8080,
        monitor_port: int = 8081,
    ) -> "Plan":
        """Takes the ports asked for, or the next free ones.

        Raises:
          Unavailable: no port is free near one asked for.
        """
        taken: set[int] = set()

        def take(preferred: int) -> int:
            taken.add(chosen := port_from(preferred, taken))
            return chosen

        return cls(
            market=market.resolve(),
            run_dir=run_dir.resolve(),
            releases=(releases or run_dir / "releases").resolve(),
            host=host,
            gateway_port=take(port),
            monitor_port=take(monitor_port),
            model_grpc_port=take(8500),
            model_rest_port=take(8501),
            redis_port=take(6390),
        )

    @property
    def log_dir(self) -> Path:
        """Root of the archive."""
        return self.run_dir / "log"

    @property
    def gateway_url(self) -> str:
        """Where decisions are asked for, from this machine."""
        return f"http://{HOST}:{self.gateway_port}"

    @property
    def monitor_url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.monitor_port}"


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
        self.market: Market = load_market(plan.market)
        self.redis = EmbeddedRedis(plan.run_dir / "redis", plan.redis_port)
        self.operator_key = _secret(plan.run_dir / "operator-key")
        self.environment = {
            "OFFERRANK_MARKET": str(plan.market),
            "OFFERRANK_REDIS_URL": self.redis.url,
            "OFFERRANK_MODEL_SERVER": f"{HOST}:{plan.model_grpc_port}",
            "OFFERRANK_RELEASES": str(plan.releases),
            "OFFERRANK_LOG_DIR": str(plan.log_dir),
            "OFFERRANK_GATEWAY_URL": plan.gateway_url,
            "OFFERRANK_SECRET": _secret(plan.run_dir / "secret"),
            "OFFERRANK_OPERATOR_KEY": self.operator_key,
            "OFFERRANK_HOST": plan.host,
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
        self.supervisor.start(Service("redis", self._launch_redis, self._redis_ready, self.redis.directory / "redis.log"))
        self.supervisor.wait_ready("redis", 15)
        self._start("gateway", ["gateway"], self.plan.gateway_port, lambda: answers(f"{self.plan.gateway_url}/healthz"))
        self.supervisor.wait_ready("gateway", GATEWAY_READY_S)

    def start_others(self) -> None:
        """Pacer, archiver, monitor and model server; does not wait for them."""
        self.start_writers()
        port = self.plan.monitor_port
        self._start("monitor", ["monitor"], port, lambda: answers(f"{self.plan.monitor_url}/"))
        self.start_model_server()

    def start_writers(self) -> None:
        """Pacer and archiver, which work behind the gateway's back."""
        self._start("pacer", ["pacer"], None, lambda: True)
        self._start("archiver", ["archiver"], None, lambda: True)

    def start_model_server(self) -> None:
        """The model server alone; it takes some seconds to load TensorFlow."""
        plan = self.plan
        arguments = ["model-server", "--model-base-path", str(plan.releases)]
        arguments += ["--port", str(plan.model_grpc_port), "--rest-port", str(plan.model_rest_port)]
        self._start("model-server", arguments, None, lambda: accepts_connections(HOST, plan.model_grpc_port))

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

    def _start(self, name: str, arguments: list[str], port: int | None, ready: Callable[[], bool]) -> None:
        environment = self.environment | ({"OFFERRANK_PORT": str(port)} if port else {})
        self.supervisor.start(self.supervisor.python(name, arguments, environment, ready))

    def _launch_redis(self) -> subprocess.Popen[bytes]:
        process = self.redis.start().process
        assert process is not None
        return process

    def _redis_ready(self) -> bool:
        return accepts_connections(HOST, self.plan.redis_port)


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


def _secret(path: Path) -> str:
    """A random secret of this run folder, so that URLs signed before a restart stay valid."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()
