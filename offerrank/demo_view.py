"""Shows a demo while it runs: one live table on a terminal, plain lines elsewhere."""

import time
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from domain.money import format_micros
from simulation.tally import Tally

LINE_EVERY_S = 10.0


@dataclass(slots=True)
class Pipeline:
    """Where training is: which component of how many, since when."""

    state: str = "waiting for clicks to learn from"
    done: int = 0
    total: int = 0


@dataclass(slots=True)
class Status:
    """What the view shows."""

    tally: Tally
    currency: str
    started_s: float
    ends_after_s: float | None
    processes: dict[str, bool] = field(default_factory=dict)
    """Name -> whether it is ready."""
    pipeline: Pipeline = field(default_factory=Pipeline)
    page_url: str = ""
    errors: int = 0

    @property
    def elapsed(self) -> str:
        """How long it has run, of how long it will."""
        run_s = int(time.monotonic() - self.started_s)
        elapsed = f"{run_s // 60}:{run_s % 60:02d}"
        return f"{elapsed} of {_clock(self.ends_after_s)}" if self.ends_after_s else elapsed


class View:
    """`say` for what happens, `update` a few times a second for how things stand."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._next_line_s = 0.0

    def __enter__(self) -> "View":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def say(self, line: str) -> None:
        """Something happened."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def update(self, status: Status) -> None:
        """Redraws, or prints a line once in a while."""
        if self._live:
            self._live.update(_screen(status), refresh=True)
        elif time.monotonic() >= self._next_line_s:
            self._next_line_s = time.monotonic() + LINE_EVERY_S
            self.say(_line(status))


def _line(status: Status) -> str:
    tally = status.tally
    revenue = format_micros(tally.revenue_micros, status.currency)
    return (
        f"[{status.elapsed}] {tally.requests:,} decisions, {tally.clicks:,} clicks, {tally.conversions:,} conversions, "
        f"revenue {revenue}, {_policy(tally)}; training: {_training(status.pipeline)}"
    )


def _screen(status: Status) -> RenderableType:
    tally = status.tally
    rows = Table.grid(padding=(0, 2))
    running = "  ".join(f"[{'green' if ready else 'yellow'}]●[/] {name}" for name, ready in status.processes.items())
    latency = tally.latency_percentiles_ms()
    rows.add_row("running", running)
    rows.add_row("page", status.page_url)
    rows.add_row("elapsed", status.elapsed)
    rows.add_row(
        "decisions", f"{tally.requests:,}   p50 {latency['p50']} ms, p99 {latency['p99']} ms, {status.errors} failed calls"
    )
    revenue = format_micros(tally.revenue_micros, status.currency)
    rows.add_row("came of it", f"{tally.clicks:,} clicks, {tally.conversions:,} conversions, {revenue}")
    rows.add_row("ranked by", _policy(tally))
    rows.add_row("training", _training(status.pipeline))
    if status.pipeline.total:
        rows.add_row("", ProgressBar(total=status.pipeline.total, completed=status.pipeline.done, width=40))
    return Group("", rows)


def _policy(tally: Tally) -> str:
    release = tally.releases[-1] if tally.releases else "cold-start"
    return "the cold-start policy (random pages)" if release == "cold-start" else f"release {release}"


def _training(pipeline: Pipeline) -> str:
    return f"{pipeline.state} ({pipeline.done}/{pipeline.total})" if pipeline.total else pipeline.state


def _clock(seconds: float | None) -> str:
    whole = int(seconds or 0)
    return f"{whole // 60}:{whole % 60:02d}"
