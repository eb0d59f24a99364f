"""Breaking a demo from its page, to see whether the page then names it."""

from pathlib import Path

import orjson
from fastapi import APIRouter, Response

from domain.errors import InvalidRequest
from monitoring.dashboard.access import Acting, Looking

AT_WORK = "fault"
"""File beside the list in which the fault at work is named, as the demo's shoppers read it."""


def fault_routes(listed: Path | None) -> APIRouter:
    """The routes below /api/faults.

    Args:
      listed: JSON of the faults by name, each with what it does; None where nothing can be broken.
    """
    router = APIRouter(prefix="/api/faults")

    @router.get("")
    def faults(_: Looking) -> Response:
        return _json({"faults": _listed(listed), "now": _at_work(listed)})

    @router.put("/{name}")
    def inject(name: str, _: Acting) -> Response:
        if listed is None or name not in _listed(listed):
            raise InvalidRequest("name", f"one of {', '.join(_listed(listed)) or 'none'}", name)
        (listed.parent / AT_WORK).write_text(name + "\n", encoding="utf-8")
        return _json({"now": name})

    @router.delete("")
    def clear(_: Acting) -> Response:
        if listed is not None:
            (listed.parent / AT_WORK).unlink(missing_ok=True)
        return _json({"now": None})

    return router


def _listed(file: Path | None) -> dict[str, str]:
    try:
        return dict(orjson.loads(file.read_bytes())) if file else {}
    except (OSError, ValueError):
        return {}  # the demo's folder is gone


def _at_work(file: Path | None) -> str | None:
    try:
        return (file.parent / AT_WORK).read_text("utf-8").strip() or None if file else None
    except (OSError, UnicodeDecodeError):
        return None


def _json(said: object) -> Response:
    return Response(orjson.dumps(said), media_type="application/json", headers={"Cache-Control": "no-store"})
