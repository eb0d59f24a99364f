"""What a user can get wrong on the command line gets one line on standard error and exit code 2, never a traceback."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from offerrank.cli import app
from offerrank.options import seconds

REPOSITORY = Path(__file__).parents[2]
MARKET = str(REPOSITORY / "examples" / "confirmation" / "market.toml")


def offerrank(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OFFERRANK_")}
    return subprocess.run(
        [sys.executable, "-m", "offerrank", *arguments], capture_output=True, text=True, env=clean | environment, timeout=120
    )


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def without_offers(tmp_path: Path) -> str:
    return write(tmp_path / "market.toml", Path(MARKET).read_text(encoding="utf-8").partition("[[offers]]")[0])


def negative_bid(tmp_path: Path) -> str:
    text = Path(MARKET).read_text(encoding="utf-8")
    return write(tmp_path / "market.toml", text.replace("bid_micros = 620_000", "bid_micros = -1"))


def a_year(tmp_path: Path) -> str:
    text = Path(MARKET).read_text(encoding="utf-8")
    return write(tmp_path / "market.toml", text.replace("bid_micros = 620_000", "bid_micros = 620_000\nstarts = 2026"))


def wrong_columns(tmp_path: Path) -> str:
    return write(tmp_path / "log.csv", "x,y\n1,2\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["market", "check", "nowhere.toml"], "nowhere.toml: no such file"),
        (["market", "check", without_offers], "offers: is missing"),
        (["market", "check", negative_bid], 'campaigns[0 "streamly-trial"].bid_micros: expected a number above 0, got -1'),
        (["market", "check", a_year], "starts: expected a date with time, such as 2026-12-01T08:00:00Z, got 2026"),
        (["archiver", "--market", a_year], "starts: expected a date with time, such as 2026-12-01T08:00:00Z, got 2026"),
        (["serve", "--market", MARKET, "--release", "nowhere"], "no such folder; `offerrank train --out DIR` makes one"),
        (["serve", "--market", MARKET, "--release", str(REPOSITORY / "docs")], "expected a release, or a folder of releases"),
        (["serve", "--market", "nowhere.toml"], "nowhere.toml: no such file"),
        (["gateway", "--market", MARKET], "OFFERRANK_SECRET: is missing"),
        (["pacer", "--market", "nowhere.toml"], "nowhere.toml: no such file"),
        (["archiver", "--market", "nowhere.toml"], "nowhere.toml: no such file"),
        (
            ["simulate", "--market", MARKET, "--gateway-url", "http://127.0.0.1:9"],
            "gateway: does not answer at http://127.0.0.1:9",
        ),
        (["serve", "--market", MARKET, "--host", "0.0.0.0"], "--public-url"),
        (["keys", "create", "a b", "--keys", "nowhere"], "key: name: expected String should match pattern"),
        (
            ["keys", "create", "shop", "--origin", "shop.example", "--keys", "nowhere"],
            "expected an origin such as https://shop.example",
        ),
        (
            ["keys", "create", "shop", "--role", "server", "--origin", "https://a.example", "--keys", "nowhere"],
            "--origin: expected",
        ),
        (["keys", "revoke", "shop", "--keys", "nowhere"], "name: expected the name of a key that has not ended, got 'shop'"),
        (["keys", "list", "--keys", MARKET], "market.toml, line 1: expected "),
        (["retrain", "--market", MARKET, "--log-dir", "nowhere", "--out", "out"], "nowhere"),
        (
            ["summaries", "--market", MARKET, "--log", "nowhere"],
            "nowhere: expected an archive, found neither decisions nor events",
        ),
        (["summaries", "--market", MARKET, "--beam-runner", "flunk"], "--beam-runner: expected one of direct, flink"),
        (["tfdv", "--release", "nowhere"], "nowhere"),
        (["train", "--market", MARKET, "--data", "nowhere.csv", "--out", "out"], "nowhere.csv"),
        (["train", "--market", MARKET, "--data", wrong_columns, "--out", "out"], "log.csv: expected columns 'country'"),
        (["train", "--market", MARKET, "--data", "s3://logs/a.csv", "--out", "out"], "s3://logs/a.csv: expected a path of this"),
        (["train", "--market", MARKET, "--data", "log.csv", "--out", "gs://releases"], "gs://releases: expected a path of this"),
        (["retrain", "--market", MARKET, "--log", "hdfs://log", "--out", "out"], "hdfs://log: expected a path of this machine"),
        (["market", "check", "s3://shop/market.toml"], "s3://shop/market.toml: expected a path of this machine"),
        (["data", "check", "--market", MARKET, "--data", "gs://log"], "gs://log: expected a path of this machine"),
        (["data", "check", "--market", MARKET, "--data", "nowhere.csv"], "nowhere.csv: expected a training log"),
    ],
    ids=lambda value: " ".join(str(getattr(v, "__name__", v)) for v in value[:4]) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line_and_exit_code_2(tmp_path: Path, arguments: list[object], said: str) -> None:
    given = [a(tmp_path) if callable(a) else str(a) for a in arguments]
    for i, name in enumerate(given):
        if name == "out" or (given[0] in ("serve", "keys") and name == "nowhere"):
            given[i] = str(tmp_path / name)
    if given[0] == "serve":
        given += ["--dir", str(tmp_path / "run")]
    done = offerrank(*given)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("[", "full training:"))]  # how far it got
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("offerrank: ")
    assert said in lines[0]
    assert not (tmp_path / "out").exists(), "something half-written"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gateway"], "Missing option '--market' (env var: 'OFFERRANK_MARKET')"),
        (["demo", "--minutes", "soon"], "Invalid value for '--minutes'"),
        (["demo", "--rate", "0"], "Invalid value for '--rate'"),
        (["retrain", "--market", MARKET, "--out", "out", "--every", "weekly"], "expected a duration such as 90s"),
        (["serve", "--market", MARKET, "--port", "99999"], "Invalid value for '--port'"),
        (["fly"], "No such command 'fly'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_says_what_was_wrong(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output


def test_what_will_not_sell_is_a_warning_and_no_mistake(tmp_path: Path) -> None:
    text = Path(MARKET).read_text(encoding="utf-8")
    past = write(tmp_path / "market.toml", text.replace("bid_micros = 620_000", "bid_micros = 620_000\nends = 2026-01-01"))
    done = offerrank("market", "check", past)
    assert done.returncode == 0
    assert done.stderr == '  warning: campaigns[0 "streamly-trial"].ends: is past, it is shown no more\n'


def test_settings_from_the_environment_are_named_by_their_variable() -> None:
    done = offerrank("pacer", OFFERRANK_MARKET=MARKET, OFFERRANK_PACER_INTERVAL_S="soon")
    assert done.returncode == 2
    assert done.stderr.startswith("offerrank: OFFERRANK_PACER_INTERVAL_S: ")
    assert "expected a number, got 'soon'" in done.stderr


@pytest.mark.parametrize("module", ["serving.gateway", "serving.pacer", "serving.archiver", "monitoring.dashboard"])
def test_a_process_without_its_settings_says_in_one_line_which_it_lacks(module: str) -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OFFERRANK_")}
    done = subprocess.run([sys.executable, "-m", module], cwd=REPOSITORY, capture_output=True, text=True, env=clean, timeout=60)
    assert done.returncode != 0
    assert done.stderr.endswith("OFFERRANK_MARKET: is missing\n")
    assert done.stderr.count("\n") == 1


def test_an_address_among_settings_is_refused() -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OFFERRANK_")}
    environment = clean | {"OFFERRANK_MARKET": MARKET, "OFFERRANK_LOG_DIR": "s3://shop/log"}
    done = subprocess.run(
        [sys.executable, "-m", "serving.archiver"], cwd=REPOSITORY, capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode != 0
    assert "s3://shop/log: expected a path of this machine" in done.stderr


def test_a_secret_that_is_refused_is_not_printed() -> None:
    done = offerrank("gateway", OFFERRANK_MARKET=MARKET, OFFERRANK_SECRET="swordfish")
    assert done.returncode == 2
    assert done.stderr.startswith("offerrank: OFFERRANK_SECRET: ")
    assert "swordfish" not in done.stderr


def test_every_option_of_every_command_is_described() -> None:
    import typer

    def commands(group: object, path: str = "") -> "list[tuple[str, object]]":
        found = getattr(group, "commands", None)
        if found is None:
            return [(path, group)]
        return [leaf for name, child in found.items() for leaf in commands(child, f"{path} {name}".strip())]

    every = commands(typer.main.get_command(app))
    assert {"demo", "serve", "train", "keys create"} < {name for name, _ in every}
    documented = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
    for name, command in every:
        assert getattr(command, "help", None), name
        assert f"offerrank {name}" in documented, f"docs/cli.md does not mention {name}"
        for option in command.params:  # type: ignore[attr-defined]
            assert option.help, f"{name}: {option.name} is not described"
            for flag in option.opts:
                assert not flag.startswith("--") or f"`{flag}`" in documented, f"docs/cli.md does not mention {flag} of {name}"


def test_help_and_version_do_not_load_the_machinery() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom offerrank.cli import app\n"
        "for arguments in (['--help'], ['serve', '--help'], ['version']):\n"
        "    assert CliRunner().invoke(app, arguments).exit_code == 0\n"
        "heavy = {'tensorflow', 'tfx', 'numpy', 'fastapi', 'redis', 'pyarrow', 'grpc'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_supervising_does_not_load_tensorflow() -> None:
    code = (
        "import sys, offerrank.demo, offerrank.serve, offerrank.simulate, offerrank.training\n"
        "sys.exit('loaded' if 'tensorflow' in sys.modules else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_version_is_that_of_the_package() -> None:
    assert version("offerrank") in offerrank("version").stdout


@pytest.mark.parametrize(("given", "expected"), [("90s", 90), ("15m", 900), ("1h", 3600), ("2d", 172_800)])
def test_durations(given: str, expected: int) -> None:
    assert seconds(given) == expected
