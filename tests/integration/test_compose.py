"""docker-compose.yml and what it uses, as far as they can be checked without an engine: every name in them means something."""

import ast
import importlib
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from prometheus_client import REGISTRY
from pydantic_settings import BaseSettings

from domain.clock import now_ms
from domain.keys import Keys
from features.market import load_market
from monitoring.skew_beat import SkewBeat
from offerrank.cli import app
from store.ports import free_port

# Google's client libraries warn about the Python version when TensorFlow is imported.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
KEYS = "keys"  # a command to run now and then, not a process
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("offerrank:") and name != KEYS]
# Where the image puts the repository, and where a process keeps what it writes.
IMAGE_ROOT = "/opt/offerrank/"
STATE = "/var/lib/offerrank/"
# Keys of a service in the compose specification, those that are used here: a misspelt one would be refused.
SERVICE_KEYS = {
    *("build", "cap_drop", "command", "depends_on", "deploy", "environment", "healthcheck", "image", "init", "logging", "ports"),
    *("entrypoint", "profiles", "restart", "security_opt", "stop_grace_period", "volumes"),
}
EXAMPLE = {"OFFERRANK_SECRET": "s" * 32}
VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+)(?::(?P<kind>[-?])(?P<word>[^}]*))?\}")

each_of_ours = pytest.mark.parametrize("name", OURS)
each_service = pytest.mark.parametrize("name", [name for name in SERVICES if name != KEYS])


def filled(value: Any) -> str:
    """A value with ${VARIABLE} replaced as compose does, required ones from EXAMPLE."""
    return VARIABLE.sub(lambda m: m["word"] if m["kind"] == "-" else EXAMPLE[m["name"]], str(value))


def environment(name: str) -> dict[str, str]:
    return {k: filled(v) for k, v in SERVICES[name].get("environment", {}).items()}


def command_of(name: str) -> Any:
    commands: dict[str, Any] = typer.main.get_command(app).commands
    assert SERVICES[name]["command"][0] in commands
    return commands[SERVICES[name]["command"][0]]


def settings_of(name: str) -> list[type[BaseSettings]]:
    """Settings that the command of a service builds; it imports them when it runs, so everything it imports is imported here."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(command_of(name).callback or app)))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert imports, name
    found = [getattr(importlib.import_module(node.module or ""), alias.name) for node in imports for alias in node.names]
    return [kind for kind in found if isinstance(kind, type) and issubclass(kind, BaseSettings)]


def mounts(name: str) -> dict[str, tuple[str, str]]:
    """Target -> (source, mode)."""
    parts = [filled(v).split(":") for v in SERVICES[name].get("volumes", [])]
    return {p[1]: (p[0], p[2] if len(p) > 2 else "rw") for p in parts}


def test_all_parts_are_there() -> None:
    ours = {"gateway", "pacer", "archiver", "watch", "skew", "monitor", "trainer", "campaigns"}
    assert set(SERVICES) == {*ours, "model-server", "redis", "prometheus", "alertmanager", "grafana", "jaeger", KEYS}
    assert set(OURS) == ours


@each_service
def test_an_image_is_pinned_and_a_service_comes_back_after_a_crash(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+(-[a-z]+)?", service["image"]), service["image"]
    assert service["restart"] == "unless-stopped"
    assert re.fullmatch(r"\d+[MG]", service["deploy"]["resources"]["limits"]["memory"])


def test_our_image_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {SERVICES[name]["image"] for name in OURS} == {f"offerrank:{project['version']}"}


@each_of_ours
def test_a_command_is_one_of_the_command_lines_and_takes_its_options(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [filled(a) for a in SERVICES[name]["command"][1:]]
    # Parses the line as `offerrank` would, required options from the environment, and runs nothing.
    for variable, value in environment(name).items():
        monkeypatch.setenv(variable, value)
    command_of(name).make_context(name, arguments)


def test_keys_are_managed_by_a_command_that_runs_when_it_is_asked_to_and_reads_the_gateways_file() -> None:
    service = SERVICES[KEYS]
    assert (service["profiles"], service["restart"], service["entrypoint"]) == ([KEYS], "no", ["offerrank", "keys"])
    commands: dict[str, Any] = typer.main.get_command(app).commands["keys"].commands  # type: ignore[attr-defined]
    assert service["command"][0] in commands
    assert environment(KEYS) == {"OFFERRANK_KEYS": environment("gateway")["OFFERRANK_KEYS"]}
    folder = str(Path(environment(KEYS)["OFFERRANK_KEYS"]).parent)
    # A folder, not the file: a file that is replaced by a rename would not change where it is mounted alone.
    assert (mounts(KEYS)[folder], mounts("gateway")[folder]) == (("keys", "rw"), ("keys", "ro"))


@pytest.mark.parametrize("name", ["trainer", "skew"])
def test_an_interval_is_one_the_command_understands(name: str) -> None:
    from offerrank.options import seconds

    arguments = SERVICES[name]["command"]
    assert seconds(arguments[arguments.index("--every") + 1]) == 3600


@each_of_ours
def test_every_variable_is_a_setting_of_that_process(name: str) -> None:
    known = {v for p in command_of(name).params for v in ([p.envvar] if isinstance(p.envvar, str) else p.envvar or [])}
    for kind in settings_of(name):
        known |= {"OFFERRANK_" + field.upper() for field in kind.model_fields}
        # And its value is one that the process takes.
        kind(**{v.removeprefix("OFFERRANK_").lower(): value for v, value in environment(name).items()})
    assert environment(name).keys() <= known


def test_what_two_processes_share_they_call_the_same() -> None:
    shared = ("OFFERRANK_MARKET", "OFFERRANK_REDIS_URL", "OFFERRANK_LOG_DIR", "OFFERRANK_RELEASES", "OFFERRANK_CATALOGUE")
    for variable in (*shared, "OFFERRANK_KEYS"):
        assert len({environment(n)[variable] for n in OURS if variable in environment(n)}) == 1
    host, port = environment("gateway")["OFFERRANK_MODEL_SERVER"].split(":")
    assert (host in SERVICES, port) == (True, "8500")
    assert environment("monitor")["OFFERRANK_GATEWAY_URL"] == f"http://gateway:{environment('gateway')['OFFERRANK_PORT']}"
    assert environment("gateway")["OFFERRANK_REDIS_URL"] == "redis://redis:6379/0"


def test_a_secret_has_no_default_and_says_what_is_missing() -> None:
    for variable in EXAMPLE:
        match = VARIABLE.fullmatch(SERVICES["gateway"]["environment"][variable])
        assert match is not None
        assert (match["name"], match["kind"]) == (variable, "?")
        assert match["word"].startswith("set it")


@each_service
def test_files_that_are_mounted_exist_and_named_volumes_are_declared(name: str) -> None:
    for target, (source, mode) in mounts(name).items():
        assert target.startswith("/")
        if source.startswith("."):
            assert (ROOT / source).is_file(), source
            assert mode == "ro"
        else:
            assert source in COMPOSE["volumes"]


def test_every_declared_volume_is_used_and_written_by_one_service() -> None:
    # Beside the archive lie the monitor's SQLite files, which it and the page write.
    beside = {"log": {"watch", "skew", "monitor"}}
    # Who only reads a database of SQLite writes into its shared memory.
    beside["catalogue"] = {"gateway", "pacer", "archiver", "watch", "monitor", "skew"}
    for volume in COMPOSE["volumes"]:
        writers = [n for n in SERVICES for source, mode in mounts(n).values() if (source, mode) == (volume, "rw")]
        writers = [n for n in writers if n not in beside.get(volume, ())]
        assert len(writers) == 1, f"{volume} is written by {writers}"


@each_of_ours
def test_every_path_given_to_a_process_is_mounted(name: str) -> None:
    for variable in ("OFFERRANK_MARKET", "OFFERRANK_RELEASES", "OFFERRANK_LOG_DIR"):
        if variable in environment(name):
            assert environment(name)[variable] in mounts(name), f"{name}: {variable}"


def test_folders_of_volumes_are_made_in_the_image_with_their_owner() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    made = set(re.findall(rf"{STATE}\w+", dockerfile))
    assert made == {t for n in [*OURS, KEYS] for t in mounts(n) if t.startswith(STATE)}
    # A volume takes its owner from the first image that mounts it, which must not be one that runs as root.
    for name in set(SERVICES) - {*OURS, KEYS}:
        for source, _ in mounts(name).values():
            ours = [n for n in OURS if source in [s for s, _ in mounts(n).values()] and not source.startswith(".")]
            assert not ours or set(ours) & SERVICES[name]["depends_on"].keys()


def test_published_ports_are_those_the_processes_listen_on() -> None:
    inside = {n: [filled(p).rsplit(":", 1)[1] for p in s.get("ports", [])] for n, s in SERVICES.items()}
    assert {n: p for n, p in inside.items() if p} == {
        "gateway": [environment("gateway")["OFFERRANK_PORT"]],
        "monitor": [environment("monitor")["OFFERRANK_PORT"]],
        "campaigns": [environment("campaigns")["OFFERRANK_PORT"]],
        "prometheus": ["9090"],
        "alertmanager": ["9093"],
        "grafana": ["3000"],
        "jaeger": ["16686"],
    }
    outside = [filled(p).split(":")[-2] for s in SERVICES.values() for p in s.get("ports", [])]
    assert len(set(outside)) == len(outside)
    # No log-in: not beyond this host.
    alone = ("monitor", "campaigns", "prometheus", "alertmanager", "grafana", "jaeger")
    assert all(p.startswith("127.0.0.1:") for n in alone for p in SERVICES[n]["ports"])
    assert all(environment(n)["OFFERRANK_HOST"] == "0.0.0.0" for n in ("gateway", "monitor", "campaigns"))
    assert environment("gateway")["OFFERRANK_OPERATOR_PORT"] not in inside["gateway"]


@each_service
def test_a_dependency_is_a_service_that_has_the_health_waited_for(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert how["condition"] in {"service_started", "service_healthy"}
        assert how["condition"] == "service_started" or "healthcheck" in SERVICES[other]


@pytest.mark.parametrize("name", [n for n in SERVICES if n not in ("trainer", KEYS)])
def test_every_server_has_a_healthcheck(name: str) -> None:
    test = SERVICES[name]["healthcheck"]["test"]
    assert test[0] == "CMD"
    if name in OURS:
        assert test[1] == "python"
        assert (ROOT / test[2].removeprefix(IMAGE_ROOT)).is_file()


def test_urls_of_healthchecks_exist_on_the_port_of_their_process() -> None:
    from monitoring.dashboard import app as dashboard
    from serving.campaigns import app as campaigns
    from serving.gateway import app as gateway

    for name, module in (("gateway", gateway), ("monitor", dashboard), ("campaigns", campaigns)):
        url = SERVICES[name]["healthcheck"]["test"][-1]
        match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/\w+)", url)
        assert match is not None
        assert match[1] == environment(name)["OFFERRANK_PORT"]
        assert re.search(rf'@app\.get\("{match[2]}"', Path(module.__file__ or "").read_text("utf-8"))


def healthcheck(
    name: str, redis_url: str, *arguments: str, market: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """Runs the health check of a service as the engine would, here, or with other arguments."""
    test = SERVICES[name]["healthcheck"]["test"]
    command = [sys.executable, str(ROOT / test[2].removeprefix(IMAGE_ROOT)), *(arguments or test[3:])]
    market = market or ROOT / mounts(name)["/etc/offerrank/market.toml"][0]
    env = os.environ | {"OFFERRANK_MARKET": str(market), "OFFERRANK_REDIS_URL": redis_url} | more
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_the_pacer_is_healthy_while_one_leads(redis_url: str) -> None:
    import redis
    from open_market import let_in

    from serving.pacer import Pacer

    market = load_market(ROOT / mounts("pacer")["/etc/offerrank/market.toml"][0])
    assert healthcheck("pacer", redis_url).stderr.strip() == "no pacer leads"
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        let_in(client, market.name)
        pacer = Pacer(client, market, lock_s=60)
        pacer.turn(now_ms())
        assert healthcheck("pacer", redis_url).returncode == 0
        pacer.resign()
    assert healthcheck("pacer", redis_url).returncode == 1


def test_the_archiver_is_healthy_while_it_flushes(redis_url: str) -> None:
    import redis

    keys = Keys(load_market(ROOT / mounts("archiver")["/etc/offerrank/market.toml"][0]).name)
    assert "not flushed yet" in healthcheck("archiver", redis_url).stderr
    with redis.Redis.from_url(redis_url) as client:
        client.hset(keys.archiver, mapping={"beat_ms": now_ms(), "interval_s": 60})
        assert healthcheck("archiver", redis_url).returncode == 0
        client.hset(keys.archiver, "beat_ms", now_ms() - 300_000)
        assert "flushed 30" in healthcheck("archiver", redis_url).stderr
        client.hset(keys.archiver, mapping={"beat_ms": now_ms(), "fault": "events: No space left on device"})
        assert "cannot write: events: No space left on device" in healthcheck("archiver", redis_url).stderr


def test_the_watch_is_healthy_while_it_takes_turns(redis_url: str) -> None:
    import redis

    keys = Keys(load_market(ROOT / mounts("watch")["/etc/offerrank/market.toml"][0]).name)
    assert "not taken a turn yet" in healthcheck("watch", redis_url).stderr
    with redis.Redis.from_url(redis_url) as client:
        client.hset(keys.watch, mapping={"beat_ms": now_ms(), "fault": ""})
        assert healthcheck("watch", redis_url).returncode == 0
        client.hset(keys.watch, "beat_ms", now_ms() - 400_000)
        assert "last turn 40" in healthcheck("watch", redis_url).stderr
        client.hset(keys.watch, mapping={"beat_ms": now_ms(), "fault": "monitor: the disk is full"})
        assert "cannot go on: monitor: the disk is full" in healthcheck("watch", redis_url).stderr


def test_skew_is_healthy_while_its_turns_come_to_an_end(tmp_path: Path) -> None:
    def problem() -> str:
        return healthcheck("skew", "", OFFERRANK_LOG_DIR=str(tmp_path)).stderr.strip()

    assert problem() == "nothing has been checked yet"
    beat = SkewBeat(beat_ms=now_ms(), checked_ms=now_ms(), every_s=3600)
    for said, expected in (
        (beat, ""),
        (beat.model_copy(update={"broken": 2, "why": "out of memory"}), "nothing is checked any more: out of memory"),
        (beat.model_copy(update={"beat_ms": now_ms() - 9_000_000}), "nothing is checked any more: no turn for too long"),
    ):
        said.write(tmp_path)
        assert problem() == expected


@pytest.mark.parametrize("name", ["pacer", "archiver", "watch"])
def test_a_health_check_reads_nothing_of_the_market_but_its_name(name: str, redis_url: str, tmp_path: Path) -> None:
    import redis

    market = tmp_path / "market.toml"
    market.write_text('name = "shop"\n[[offers]]\nthis would be an error, if anyone parsed it')
    with redis.Redis.from_url(redis_url) as client:
        client.set(Keys("shop").pacer_lock, "someone")
        client.hset(Keys("shop").archiver, mapping={"beat_ms": now_ms(), "interval_s": 60})
        client.hset(Keys("shop").watch, mapping={"beat_ms": now_ms(), "fault": ""})
    assert healthcheck(name, redis_url, market=market).returncode == 0


def test_a_url_that_does_not_answer_is_unhealthy() -> None:
    done = healthcheck("gateway", "", "http", f"http://127.0.0.1:{free_port()}/healthz")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_the_model_servers_configuration_is_one_it_can_read() -> None:
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = text_format.Parse((ROOT / "deploy" / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert model.name == "ranker"
    assert model.base_path in mounts("model-server")
    assert mounts("model-server")[model.base_path][0] == mounts("trainer")[environment("trainer")["OFFERRANK_RELEASES"]][0]
    assert model.model_version_policy.latest.num_versions == 2
    flags = dict(f.removeprefix("--").split("=", 1) for f in SERVICES["model-server"]["command"])
    assert flags["model_config_file"] in mounts("model-server")
    assert flags["monitoring_config_file"] in mounts("model-server")
    assert float(flags["file_system_poll_wait_seconds"]) == 1
    # Warm-up is on unless it is turned off.
    assert "enable_model_warmup" not in flags


def test_redis_keeps_what_it_has_and_evicts_nothing() -> None:
    words = SERVICES["redis"]["command"]
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    limit = SERVICES["redis"]["deploy"]["resources"]["limits"]["memory"]
    # Room for the copy that a rewrite of the append-only file makes.
    assert (options["--maxmemory"], limit) == ("768mb", "1G")


def test_prometheus_scrapes_services_that_exist_on_ports_they_have() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert set(jobs) == {"gateway", "model-server", "monitor", "prometheus"}
    assert jobs["monitor"]["static_configs"] == [{"targets": [f"monitor:{environment('monitor')['OFFERRANK_PORT']}"]}]
    (discovered,) = jobs["gateway"]["dns_sd_configs"]
    assert discovered["names"] == ["gateway"]
    # Where no key is needed, inside the network only.
    assert str(discovered["port"]) == environment("gateway")["OFFERRANK_OPERATOR_PORT"]
    assert environment("gateway")["OFFERRANK_OPERATOR_HOST"] == "0.0.0.0"
    assert jobs["model-server"]["static_configs"] == [{"targets": ["model-server:8501"]}]
    monitoring = (ROOT / "deploy" / "monitoring.config").read_text()
    assert f'path: "{jobs["model-server"]["metrics_path"]}"' in monitoring
    (found,) = (one["dns_sd_configs"][0] for one in config["alerting"]["alertmanagers"])
    assert found["names"][0] in SERVICES
    assert SERVICES[found["names"][0]]["ports"][0].endswith(f":{found['port']}")
    targets = {target: source for target, (source, _) in mounts("prometheus").items()}
    assert targets["/etc/prometheus/prometheus.yml"] == "./deploy/prometheus.yml"
    assert all(f"/etc/prometheus/{file}" in targets for file in config["rule_files"])


def test_alerts_ask_for_metrics_that_are_exported() -> None:
    from monitoring.metrics import PAGE

    families = [*REGISTRY.collect(), *PAGE.collect()]
    exported = {sample for family in families for sample in [family.name, *(s.name for s in family.samples)]}
    # A family with labels has no samples before its first use.
    ends = {"counter": ["total"], "histogram": ["bucket", "sum", "count"]}
    for family in families:
        exported |= {f"{family.name}_{end}" for end in ends.get(family.type, [])}
    rules = [r for g in yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"] for r in g["rules"]]
    asked = {m for rule in rules for m in re.findall(r"offerrank_\w+", rule["expr"])}
    assert asked <= exported
    assert len({r["alert"] for r in rules}) == len(rules)
    assert all(r["labels"]["severity"] in {"page", "ticket"} and r["annotations"]["summary"] for r in rules)
    jobs = {j for rule in rules for j in re.findall(r'job="([\w-]+)"', rule["expr"])}
    assert jobs <= {"gateway", "model-server", "monitor"}


def dockerfile_copies() -> list[tuple[list[str], bool]]:
    """Sources of each COPY, and whether they come from another stage."""
    lines = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ").splitlines()
    words = [shlex.split(line)[1:] for line in lines if line.startswith("COPY")]
    return [([w for w in copy[:-1] if not w.startswith("--")], any(w.startswith("--from") for w in copy)) for copy in words]


def test_what_the_image_is_built_from_exists_and_is_not_ignored() -> None:
    allowed = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for path in allowed:
        assert (ROOT / path).exists(), path
    for sources, other_stage in dockerfile_copies():
        assert other_stage or all(s == "." or s in allowed for s in sources), sources
    # Every package the project installs is in the image, and whatever else the installation reads.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = {p.removesuffix("*") for p in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages | {"pyproject.toml", project["project"]["readme"], "requirements.lock", "deploy"} <= allowed
    compiled = re.search(r"compileall -q ([\w ]+)", (ROOT / "Dockerfile").read_text())
    assert compiled is not None
    assert set(compiled[1].split()) == packages


def test_the_image_runs_as_somebody_without_compilers() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    last_stage = dockerfile[dockerfile.rindex("\nFROM ") :]
    assert re.search(r"^USER offerrank$", last_stage, re.MULTILINE)
    assert "apt-get" not in last_stage
    assert 'ENTRYPOINT ["offerrank"]' in last_stage


def test_every_requirement_is_locked_to_its_hash() -> None:
    text = (ROOT / "requirements.lock").read_text("utf-8").strip()
    entries = [e for e in re.split(r"\n(?=\S)", text) if not e.startswith("#")]
    assert len(entries) > 100
    assert [e.splitlines()[0] for e in entries if "--hash=sha256:" not in e] == []


def test_docs_name_every_service_volume_and_variable() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    variables = {m["name"] for m in VARIABLE.finditer((ROOT / "docker-compose.yml").read_text())}
    for word in [*SERVICES, *COMPOSE["volumes"], *variables]:
        assert f"`{word}`" in text, word


def test_every_key_is_one_of_the_specification_and_compose_agrees_where_it_is_installed() -> None:
    assert {name for name in COMPOSE if not name.startswith("x-")} == {"name", "services", "volumes"}
    assert {key for service in SERVICES.values() for key in service} <= SERVICE_KEYS
    compose = ["docker", "compose"]
    if shutil.which("docker") and subprocess.run([*compose, "version"], capture_output=True, check=False).returncode == 0:
        command = [*compose, "-f", str(ROOT / "docker-compose.yml"), "config", "--quiet"]
        done = subprocess.run(command, env=os.environ | EXAMPLE, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
