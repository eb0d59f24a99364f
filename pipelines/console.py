"""Shows a run on standard error: bars on a terminal, a line per step elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from models.progress import FitProgress
from pipelines.progress import Event, Listener, StepFinished, StepStarted


@contextmanager
def console_listener(console: Console | None = None) -> Iterator[Listener]:
    """A listener for as long as the run lasts."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (TextColumn("{task.description:<20}"), BarColumn(24), TimeElapsedColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=console) as progress:
        yield _Bars(progress)


def describe(fit: FitProgress) -> str:
    """One line about a fit."""
    return f"{fit.model}: epoch {fit.epoch}/{fit.epochs}, loss {fit.loss:.4f}{fit.pace}"


class _Lines:
    """One line per finished step and epoch."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._step = ""

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepStarted):
            self._step = f"[{event.number:2d}/{event.of}]"
        elif isinstance(event, StepFinished):
            self._say(f"{self._step} {event.name:<17} {event.seconds:6.1f} s")
        elif event.rows == event.total:
            self._say(f"        {describe(event)}")

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False)


class _Bars:
    """A bar per step, and one per model while it is fitted."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._step: TaskID | None = None
        self._fits: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepStarted):
            self._step = self._progress.add_task(event.name, total=None, note=f"{event.number}/{event.of}")
        elif isinstance(event, StepFinished):
            if self._step is not None:
                self._progress.update(self._step, total=1, completed=1)
        else:
            if event.model not in self._fits:
                total = event.epochs * event.total
                self._fits[event.model] = self._progress.add_task(f"  {event.model}", total=total, note="")
            done = (event.epoch - 1) * event.total + event.rows
            self._progress.update(self._fits[event.model], completed=done, note=describe(event).partition(": ")[2])
