"""What the web SDK weighs, what it never does, and how it is handed out."""

import base64
import gzip
import hashlib
import re
from pathlib import Path

import tomli
from typer.testing import CliRunner

import sdk
from offerrank.cli import app

REPOSITORY = Path(__file__).resolve().parents[3]
TEXT = sdk.SCRIPT.read_text(encoding="utf-8")


def test_it_is_under_6_kb_gzipped():
    assert len(gzip.compress(sdk.SCRIPT.read_bytes(), 9)) < 6_000


def test_it_makes_no_code_or_markup_of_text():
    for never in ("eval(", "new Function", "innerHTML", "outerHTML", "insertAdjacent", "document.write", 'setAttribute("style'):
        assert never not in TEXT, never
    assert not re.search(r"setTimeout\(\s*[\"'`]", TEXT)


def test_every_option_it_reads_is_typed_and_described():
    types = sdk.TYPES.read_text(encoding="utf-8")
    documented = (REPOSITORY / "docs" / "sdk.md").read_text(encoding="utf-8")
    read = set(re.findall(r"\b(?:slot|options)\.(\w+)", TEXT)) - {"own", "drawn", "empty", "restore"}
    assert {"key", "gateway", "timeout", "into", "render", "reserve", "whenEmpty"} <= read
    for option in read | {"consent", "onEvent"}:
        assert re.search(rf"\b{option}\??:|\b{option}\(", types), option
        assert f"`{option}`" in documented, option
    for happens in re.findall(r'type: "(\w+)"', types) + re.findall(r'"(\w+)"', types.split("type: ")[1].split(";")[0]):
        assert f"`{happens}`" in documented, happens


def test_all_its_files_are_in_the_wheel():
    patterns = tomli.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["sdk"]
    packaged = {path for pattern in patterns for path in (REPOSITORY / "sdk").glob(pattern)}
    assert packaged == {p for p in (REPOSITORY / "sdk").rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}


def test_every_package_is_in_the_wheel_and_in_the_image():
    tools = tomli.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]
    packages = set(tools["importlinter"]["root_packages"])
    assert packages == {pattern.removesuffix("*") for pattern in tools["setuptools"]["packages"]["find"]["include"]}
    assert packages <= {line.removeprefix("!") for line in (REPOSITORY / ".dockerignore").read_text().splitlines()}


def test_the_command_writes_it_and_says_what_a_browser_checks_it_by(tmp_path):
    done = CliRunner().invoke(app, ["sdk", "--to", str(tmp_path / "static")])
    assert done.exit_code == 0
    written = (tmp_path / "static" / "offerrank.js").read_bytes()
    assert (tmp_path / "static" / "offerrank.d.ts").exists()
    digest = base64.b64encode(hashlib.sha384(written).digest()).decode()
    assert f'src="offerrank.js" integrity="sha384-{digest}" crossorigin="anonymous"' in done.stdout
    assert 'src="GATEWAY/sdk/offerrank.js"' in CliRunner().invoke(app, ["sdk"]).stdout


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(app, ["sdk", "--to", str(tmp_path / "file" / "below")])
    assert done.exit_code == 2
    assert "offerrank: --to " in done.stderr
