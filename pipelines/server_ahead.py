"""The model server that ServingCheck asks, started while the components before it run: importing TensorFlow takes it seconds.

It starts with the Calibrator, once the rows that train have left memory, on a folder without a version; a server finds those that
come. Only the process that runs the whole pipeline can start it: where an orchestrator gives each component a process of its own,
ServingCheck starts one itself.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.progress import Event, StepStarted

if TYPE_CHECKING:
    from pipelines.components.serving_check import Server

STARTS_WITH = "Calibrator"


@dataclass(frozen=True, slots=True)
class Ahead:
    """A server, and where it looks for releases."""

    server: "Server"
    base: Path


_started: ContextVar["list[Ahead] | None"] = ContextVar("started", default=None)


def started_ahead() -> Ahead | None:
    """By the run that this is a part of, and still there."""
    return next((ahead for ahead in _started.get() or () if ahead.server.process.poll() is None), None)


@contextmanager
def server_ahead(work: Path) -> "Iterator[ServerAhead]":
    """A listener of a run that starts one; it ends with the run.

    Args:
      work: its releases folder and its output go here.
    """
    with ExitStack() as stack:
        started: list[Ahead] = []
        stack.callback(_started.reset, _started.set(started))
        yield ServerAhead(work, started, stack)


class ServerAhead:
    """Hears of a run's steps."""

    def __init__(self, work: Path, started: list[Ahead], stack: ExitStack) -> None:
        self._work, self._started, self._stack = work, started, stack

    def __call__(self, event: Event) -> None:
        """Starts the server when its time has come."""
        if not isinstance(event, StepStarted) or event.name != STARTS_WITH or self._started:
            return
        from pipelines.components.serving_check import model_server  # imports TFX, as the run has by now

        base = self._work / "releases"
        base.mkdir(parents=True)
        server = self._stack.enter_context(model_server(base, self._work / "model-server.log"))
        self._started.append(Ahead(server, base))
