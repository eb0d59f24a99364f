"""Keeps what a run tells of itself in runs.sqlite. A run that cannot be recorded goes on, and says so in the end."""

import logging
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from domain.clock import now_ms
from domain.errors import NotBlessed, NothingToLearn, Unjudged
from models import turns
from pipelines.progress import Event, StepFinished, StepStarted, tell
from pipelines.refused_reports import keep_report
from store.runs import Kind, Outcome, Run, Step, write_run
from store.sqlite import FileUnavailable

log = logging.getLogger("offerrank.runs")

Rows = Callable[[str], tuple[int | None, int | None]]
"""Step -> rows in and out, asked once it has ended."""


class Recorder:
    """One run as it goes on; hears its steps as a listener does."""

    def __init__(self, releases: Path, run: Run) -> None:
        self.run = run
        self.rows: Rows = lambda _: (None, None)
        self._releases = releases
        self._step: tuple[str, int, float] | None = None
        self._write()

    def __call__(self, event: Event) -> None:
        """Hears of a step."""
        if isinstance(event, StepStarted):
            self._step = event.name, now_ms(), time.monotonic()
            forget_peak()
        elif isinstance(event, StepFinished):
            self._end_step(event.seconds)

    def know(self, **known: Any) -> None:
        """What has turned out about the run: fields of `store.runs.Run`."""
        self.run = replace(self.run, **known)

    def detail(self, **details: Any) -> None:
        """More of its details."""
        self.know(details={**self.run.details, **details})

    def end(self, outcome: Outcome, why: str = "") -> None:
        """Once, whatever came of it; a step that has not ended has failed."""
        if self._step is not None:
            self._end_step(time.monotonic() - self._step[2], failed=True)
        self.know(outcome=outcome, why=why, ended_ms=now_ms())
        if (error := self._write()) is not None:  # what could not be written before would be in it
            log.warning("the run is not recorded: %s", error)

    def _end_step(self, seconds: float, failed: bool = False) -> None:
        if self._step is None:
            return
        (name, began_ms, _), self._step = self._step, None
        try:
            came, went = (None, None) if failed else self.rows(name)
        except Exception:
            log.exception("rows of %s cannot be counted", name)
            came, went = None, None
        self.know(steps=(*self.run.steps, Step(name, began_ms, seconds, failed, came, went, peak_bytes())))
        self._write()

    def _write(self) -> FileUnavailable | OSError | None:
        """All that is known, in place of what was; nothing where there is no folder yet."""
        self.know(heard_ms=now_ms())
        if not self._releases.is_dir():
            return None
        try:
            write_run(self._releases, self.run)
        except (FileUnavailable, OSError) as e:
            return e
        return None


@contextmanager
def recorded(releases: Path, kind: Kind, market: str, data: Path) -> Iterator[Recorder]:
    """Records a run: what ends the block, ends it. Without an error its outcome is `released`, unless it has ended already."""
    began_ms = now_ms()
    recorder = Recorder(releases, Run(f"{began_ms}-{os.getpid()}", kind, market, str(data), began_ms))
    try:
        yield recorder
    except Exception as e:
        if isinstance(e, NotBlessed) and e.report is not None and outcome_of(e) == "refused":
            keep_report(releases, recorder.run.id, e.report)
        recorder.end(outcome_of(e), " ".join(str(e).split()))
        raise
    except BaseException:
        recorder.end("stopped")
        raise
    if recorder.run.outcome is None:
        recorder.end("released")


@contextmanager
def step(name: str, number: int, of: int, seconds: dict[str, float]) -> Iterator[None]:
    """Tells and times a step that is no TFX component."""
    tell(StepStarted(name, number, of))
    began = time.monotonic()
    yield
    seconds[name] = time.monotonic() - began
    tell(StepFinished(name, seconds[name]))


def outcome_of(error: Exception) -> turns.Outcome:
    """What came of a run that ended with an error."""
    if isinstance(error, NothingToLearn | Unjudged):
        return "waiting"
    return "refused" if isinstance(error, NotBlessed) else "failed"


def forget_peak() -> None:
    """From now on `peak_bytes` is of what comes; where the kernel does not allow it, it stays that of the whole process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_bytes() -> int:
    """Most memory that this process has held."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
