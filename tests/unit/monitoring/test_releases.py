"""Releases on the page: as the trainings wrote them, half copied and damaged; what was refused; reports that run nothing."""

import asyncio
import json
import threading
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from known_releases import DAMAGED, FULL, MORE, WHY, know_releases
from log_entries import MARKET_TOML, decision, decision_fields

from features.market import parse_market
from models import release
from monitoring.dashboard.access import Access
from monitoring.dashboard.board import Board
from monitoring.dashboard.release_files import EVALUATION, MANIFEST, REFUSED, REPORT, ReleaseFiles
from monitoring.dashboard.release_routes import release_routes
from monitoring.dashboard.settings import DashboardSettings
from monitoring.dashboard.state import State, StateReader
from pipelines import refused_reports
from store import connect


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    know_releases(tmp_path / "releases")
    return tmp_path / "releases"


def getting(folder: Path | None, tmp_path: Path) -> Any:
    """The routes, after a decision by the newer release; the older was served first."""
    board = Board(5, 600)
    board.add_decision(1, decision_fields(decision("d", 1, release=str(MORE))))
    reader = StateReader(connect("redis://127.0.0.1:1/0", 1), parse_market(tomllib.loads(MARKET_TOML)), None)
    reader.state = State(1, 0.5, [], {str(FULL): FULL * 1000 + 5})
    (market := tmp_path / "market.toml").write_text(MARKET_TOML)
    app = FastAPI()
    app.state.access = Access(DashboardSettings(market=market))
    app.include_router(release_routes(folder, board, threading.Lock(), reader))

    def get(path: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
                return await client.get(path)

        return asyncio.run(ask())

    return get


def test_the_files_are_where_the_trainings_put_them():
    assert (MANIFEST, EVALUATION, REPORT) == (release.MANIFEST, release.EVALUATION, release.REPORT)
    assert REFUSED == refused_reports.FOLDER


def test_releases_are_listed_newest_first_with_what_was_refused(folder: Path, tmp_path: Path):
    said = getting(folder, tmp_path)("/api/releases").json()
    assert [one["version"] for one in said["releases"]] == [DAMAGED, MORE, FULL]
    damaged, more, full = said["releases"]
    assert "release.json is damaged" in damaged["trouble"]
    assert (more["kind"], more["went_on_from"], full["kind"]) == ("incremental", FULL, "full")
    assert (more["gates"], more["rows"]["train"]) == ({"passed": 1, "failed": 0, "skipped": 1}, 5979)
    assert more["metrics"]["ctr"]["auc"] == 0.74
    assert (said["deciding"], said["first_served_ms"]) == ([str(MORE)], {str(FULL): FULL * 1000 + 5})
    assert [(run["id"], run["why"]) for run in said["refused"]] == [("run-refused", WHY)]


def test_the_report_of_a_refused_model_is_shown_and_nothing_else_of_the_folder(folder: Path, tmp_path: Path):
    run = "1763778000000-42"
    (folder / "refused").mkdir()
    (folder / "refused" / f"{run}.html").write_text("<p>why</p>")
    get = getting(folder, tmp_path)
    shown = get(f"/releases/refused/{run}")
    assert (shown.status_code, shown.text) == (200, "<p>why</p>")
    assert "sandbox" in shown.headers["content-security-policy"]
    assert [one["has_report"] for one in get("/api/releases").json()["refused"]] == [False]
    for other in ("1763778000000-43", "..", "%2e%2e%2fruns", f"{run}.html", f".{run}"):
        assert get(f"/releases/refused/{other}").status_code == 404


def test_older_releases_are_a_link_away(folder: Path, tmp_path: Path):
    for version in range(1, 60):
        (folder / str(version)).mkdir()
    get = getting(folder, tmp_path)
    newest = get("/api/releases").json()
    assert (len(newest["releases"]), newest["more"]) == (50, True)
    older = get(f"/api/releases?before={newest['releases'][-1]['version']}").json()
    assert (len(older["releases"]), older["more"], older["releases"][-1]["version"]) == (12, False, 1)


def test_one_release_has_its_metrics_gates_comparison_and_run(folder: Path, tmp_path: Path):
    said = getting(folder, tmp_path)(f"/api/releases/{MORE}").json()
    ctr = said["evaluation"]["tasks"]["ctr"]
    assert (ctr["calibrated"]["auc"], ctr["calibrated"]["auc_interval"]) == (0.74, [pytest.approx(0.71), pytest.approx(0.77)])
    assert said["evaluation"]["in_service"]["version"] == FULL
    assert said["evaluation"]["in_service"]["changes"]["ctr"]["relative"] == -0.021
    assert said["made_with"]["packages"]["tensorflow"] == "2.16.2"
    assert said["run"]["id"] == "run-of-more"


def test_a_release_that_is_being_copied_says_which_file_is_not_there_until_it_is(folder: Path):
    manifest = folder / str(MORE) / MANIFEST
    made = json.loads(manifest.read_text()) | {"files": {"saved_model.pb": {"bytes": 3, "sha256": "x"}}}
    manifest.write_text(json.dumps(made))
    files = ReleaseFiles(folder)
    assert files.described(MORE)["trouble"] == "saved_model.pb is not there"
    (folder / str(MORE) / "saved_model.pb").write_bytes(b"ab")
    assert files.described(MORE)["trouble"] == "saved_model.pb is not whole"
    (folder / str(MORE) / "saved_model.pb").write_bytes(b"abc")
    assert files.described(MORE)["trouble"] == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"tasks": 5, "gates": "no"}',
        '{"tasks": {"ctr": {"calibrated": {"auc": "high"}}}, "gates": [1]}',
        "\x00",
    ],
)
def test_what_an_evaluation_does_not_say_is_nothing(folder: Path, tmp_path: Path, text: str):
    (folder / str(MORE) / EVALUATION).write_text(text)
    get = getting(folder, tmp_path)
    assert get("/api/releases").status_code == 200
    said = get(f"/api/releases/{MORE}").json()
    assert said["evaluation"] is None or said["evaluation"]["gates"] == []


def test_times_that_are_none_are_left_out(folder: Path):
    manifest = folder / str(MORE) / MANIFEST
    manifest.write_text(
        json.dumps({"created_ms": "soon", "rows": {"train": "many"}, "trained_through_ms": 1e300, "warm_from": -1})
    )
    said = ReleaseFiles(folder).described(MORE)
    assert (said["created_ms"], said["rows"], said["trained_through_ms"], said["kind"]) == (None, {}, None, "full")


def test_a_report_is_shown_and_runs_nothing(folder: Path, tmp_path: Path):
    get = getting(folder, tmp_path)
    answer = get(f"/releases/{MORE}/report")
    assert f"Report of {MORE}" in answer.text
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "script-src" not in answer.headers["content-security-policy"]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert get(f"/releases/{DAMAGED}/report").status_code == 404


@pytest.mark.parametrize("path", ["..", "1e3", "-1", "0x10", "9" * 30])
def test_a_version_is_a_number(folder: Path, tmp_path: Path, path: str):
    get = getting(folder, tmp_path)
    assert get(f"/api/releases/{path}").status_code in (404, 422)
    assert get(f"/releases/{path}/report").status_code in (404, 422)


def test_where_nothing_is_known_it_says_why(tmp_path: Path):
    assert "OFFERRANK_RELEASES" in getting(None, tmp_path)("/api/releases").json()["trouble"]
    nothing = getting(tmp_path / "none", tmp_path)
    assert nothing("/api/releases").json()["releases"] == []
    assert nothing(f"/api/releases/{MORE}").json()["known"] is False
