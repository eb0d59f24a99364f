"""What the page asks about trainings: each run with its steps, gates, anomalies and reason, newest first."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Response

from domain.clock import now_ms
from monitoring.dashboard.access import Looking
from monitoring.dashboard.answers import json_answer
from store.runs import recent_runs
from store.sqlite import FileUnavailable


def pipeline_routes(releases: Path | None) -> APIRouter:
    """The route /api/pipeline.

    Args:
      releases: the folder in which trainings keep their runs.
    """
    router = APIRouter()

    @router.get("/api/pipeline")
    def pipeline(
        _: Looking, limit: Annotated[int, Query(ge=1, le=200)] = 50, before_ms: Annotated[int, Query(ge=0)] = 2**62
    ) -> Response:
        """Runs that began before a time; `trouble` says why there are none."""
        at_ms, trouble = now_ms(), None
        try:
            if releases is None:
                raise FileUnavailable("runs", "OFFERRANK_RELEASES names no folder of releases")
            runs = recent_runs(releases, limit, before_ms)
        except FileUnavailable as e:
            runs, trouble = [], str(e)
        said = {"now_ms": at_ms, "trouble": trouble, "runs": [run.as_json(at_ms) for run in runs]}
        return json_answer(said)

    return router
