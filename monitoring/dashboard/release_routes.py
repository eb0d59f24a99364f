"""What the page asks about releases: all with what became of them, one in full, its report, and what was refused."""

import threading
from pathlib import Path as FilePath
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Path, Query, Response

from domain.clock import now_ms
from domain.errors import ContractError
from monitoring.dashboard.access import Looking
from monitoring.dashboard.answers import json_answer
from monitoring.dashboard.board import Board
from monitoring.dashboard.release_files import ReleaseFiles
from monitoring.dashboard.state import StateReader
from monitoring.dashboard.statistics import Json
from store.runs import recent_runs, run_of
from store.sqlite import FileUnavailable

SHOWN = 50
NO_FOLDER = "OFFERRANK_RELEASES names no folder of releases"
REPORT_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""A report is one file that needs nothing, and runs nothing."""
Version = Annotated[int, Path(ge=0, le=2**62)]


def release_routes(folder: FilePath | None, board: Board, lock: threading.Lock, reader: StateReader) -> APIRouter:
    """The routes below /api/releases, and the reports.

    Args:
      folder: of releases.
    """
    router = APIRouter()
    files = ReleaseFiles(folder) if folder is not None else None

    def served() -> Json:
        """Releases that the newest decisions were made by, and when each was first served."""
        with lock:
            recent = [str(orjson.loads(one)["release"]) for one in board.recent]
        return {"deciding": list(dict.fromkeys(recent)), "first_served_ms": reader.state.first_served_ms if reader.state else {}}

    @router.get("/api/releases")
    def listed(_: Looking, before: Annotated[int, Query(ge=0, le=2**62)] = 2**62) -> Response:
        """Newest first, those of a version below `before`; beside them the trainings that brought none since the oldest shown."""
        if files is None:
            return json_answer({"trouble": NO_FOLDER, "releases": []})
        versions = [version for version in files.versions() if version < before]
        shown = [files.described(version) for version in versions[:SHOWN]]
        said: Json = {"trouble": None, "releases": shown, "more": len(versions) > SHOWN, "now_ms": now_ms(), **served()}
        return json_answer(said | _without_release(files, before, shown if len(versions) > SHOWN else []))

    @router.get("/api/releases/{version}")
    def one(version: Version, _: Looking) -> Response:
        """All of one; what of it cannot be read is in `trouble`."""
        if files is None or not (files.folder / str(version)).is_dir():
            return json_answer({"known": False, "trouble": NO_FOLDER if files is None else None})
        told: Json = {"known": True, "release": files.described(version), "run": _run(files.folder, version), **served()}
        try:
            told |= {"evaluation": files.evaluation(version), "made_with": files.inputs(version)}
        except ContractError as e:
            told |= {"evaluation": None, "made_with": None, "trouble": str(e)}
        return json_answer(told)

    @router.get("/releases/{version}/report")
    def report(version: Version, _: Looking) -> Response:
        return _report(files.report(version) if files else None)

    @router.get("/releases/refused/{run}")
    def refused(run: str, _: Looking) -> Response:
        return _report(files.refused_report(run) if files else None)

    return router


def _report(found: bytes | None) -> Response:
    if found is None:
        return Response(b"no such report", 404, media_type="text/plain")
    return Response(found, media_type="text/html; charset=utf-8", headers=REPORT_HEADERS)


def _without_release(files: ReleaseFiles, before: int, shown: list[Json]) -> Json:
    """Runs that were refused, failed or were killed, as far back as the releases shown."""
    at_ms = now_ms()
    oldest_ms = min((one["created_ms"] for one in shown if isinstance(one["created_ms"], int)), default=0)
    try:
        runs = recent_runs(files.folder, 4 * SHOWN, before_ms=min(before * 1000, 2**62))
    except FileUnavailable as e:
        return {"refused": [], "runs_trouble": str(e)}
    reports = files.refused_reports()
    came_to_nothing = [run for run in runs if run.state(at_ms) in ("refused", "failed", "killed") and run.began_ms >= oldest_ms]
    return {
        "refused": [
            {
                "id": run.id,
                "kind": run.kind,
                "began_ms": run.began_ms,
                "state": run.state(at_ms),
                "why": run.why,
                "data": run.data,
                "has_report": run.id in reports,
            }
            for run in came_to_nothing[:SHOWN]
        ],
        "runs_trouble": None,
    }


def _run(folder: FilePath, version: int) -> Json | None:
    try:
        run = run_of(folder, version)
    except FileUnavailable:
        return None
    return None if run is None else run.as_json(now_ms())
