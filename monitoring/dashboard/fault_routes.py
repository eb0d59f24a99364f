"""Breaking a demo from its page, to see whether the page then names it."""

from pathlib import Path

import orjson
from fastapi import APIRouter, Response

from domain.errors import InvalidRequest
from monitoring.dashboard.access import Acting, Looking
from monitoring.dashboard.answers import json_answer
from monitoring.fault_switch import AT_WORK, FaultSwitch


def fault_routes(listed: Path | None) -> APIRouter:
    """The routes below /api/faults.

    Args:
      listed: JSON of the faults by name, each with what it does, beside the file that says which is at work; None where nothing
        can be broken.
    """
    router = APIRouter(prefix="/api/faults")
    switch = FaultSwitch(listed.parent / AT_WORK) if listed else None

    @router.get("")
    def faults(_: Looking) -> Response:
        return json_answer({"faults": _listed(listed), "now": switch.at_work if switch else None})

    @router.put("/{name}")
    def inject(name: str, _: Acting) -> Response:
        if switch is None or name not in _listed(listed):
            raise InvalidRequest("name", f"one of {', '.join(_listed(listed)) or 'none'}", name)
        switch.inject(name)
        return json_answer({"now": name})

    @router.delete("")
    def clear(_: Acting) -> Response:
        if switch:
            switch.clear()
        return json_answer({"now": None})

    return router


def _listed(file: Path | None) -> dict[str, str]:
    try:
        return dict(orjson.loads(file.read_bytes())) if file else {}
    except (OSError, ValueError):
        return {}  # the demo's folder is gone
