"""Starts OfferRank's processes, restarts those that crash, and leaves none behind.

Each child leads a process group of its own, so Ctrl-C in the terminal reaches the supervisor alone, which then ends the
children in reverse order of their start: Redis, started first, is ended last. If the supervisor is killed outright,
offerrank/guardian.py does the same in its place. Groups share the terminal's session, because Linux schedules by session
first and a `nice` value would otherwise mean nothing between them.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from domain.errors import Unavailable
from offerrank import guardian
from offerrank.ports import listens

FIRST_BACKOFF_S = 0.5
LAST_BACKOFF_S = 30.0
STABLE_S = 60.0
LOG_LINES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Service:
    """A process to keep alive: how it is launched, as the leader of its process group, and when it counts as ready.

    Attributes:
      ready: asked of a process that runs and, where a port is given, listens there itself.
    """

    name: str
    launch: Callable[[], subprocess.Popen[bytes]]
    ready: Callable[[], bool]
    log: Path
    port: int | None = None


@dataclass(slots=True)
class _Child:
    service: Service
    process: subprocess.Popen[bytes] | None
    started_s: float
    crashes: int = 0
    restart_s: float = 0.0
    last_words: list[str] = field(default_factory=list)

    def is_ready(self) -> bool:
        """Whether it answers: itself, and not whoever else listens on its port."""
        if self.process is None or self.process.poll() is not None:
            return False
        return (self.service.port is None or listens(self.process.pid, self.service.port)) and self.service.ready()


class Supervisor:
    """Children of one run. Not threaded: its owner calls `poll` a few times a second.

    Args:
      run_dir: where logs go, `logs/<name>.log`.
      say: told in one line what happened to a child.
      grace_s: how long a child may take to end before it is killed.
    """

    def __init__(self, run_dir: Path, say: Callable[[str], None], grace_s: float = 8.0) -> None:
        self.run_dir = run_dir
        self.say = say
        self.grace_s = grace_s
        self._children: dict[str, _Child] = {}
        self._jobs: dict[str, subprocess.Popen[bytes]] = {}
        (run_dir / "logs").mkdir(parents=True, exist_ok=True)
        self._guardian = self._start_guardian()

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def python(
        self,
        name: str,
        arguments: list[str],
        environment: Mapping[str, str],
        ready: Callable[[], bool],
        port: int | None = None,
    ) -> Service:
        """A service that is one of our own commands, `python -m offerrank ARGUMENTS`, logging to `logs/<name>.log`."""
        log = self.run_dir / "logs" / f"{name}.log"
        return Service(name, lambda: _launch(arguments, environment, log, nice=0), ready, log, port)

    def start(self, service: Service) -> None:
        """Launches a service and keeps it alive from now on."""
        child = _Child(service, None, 0.0)
        self._children[service.name] = child
        self._launch(child)

    def job(self, name: str, arguments: list[str], environment: Mapping[str, str], nice: int = 0) -> subprocess.Popen[bytes]:
        """Launches one of our commands once; it is ended with the rest, but not restarted."""
        process = _launch(arguments, environment, self.run_dir / "logs" / f"{name}.log", nice)
        self._jobs[name] = process
        self._tell(f"+{process.pid}")
        return process

    def pids(self) -> dict[str, int]:
        """Process ids of the children that run, by name."""
        running = {name: c.process.pid for name, c in self._children.items() if c.process and c.process.poll() is None}
        return running | {name: p.pid for name, p in self._jobs.items() if p.poll() is None}

    def poll(self) -> None:
        """Notices children that ended, and starts them again when their back-off is over."""
        now_s = time.monotonic()
        if self._guardian.poll() is not None:
            _close(self._guardian)
            self._guardian = self._start_guardian()
        for name, process in list(self._jobs.items()):
            if process.poll() is not None:
                del self._jobs[name]
                self._forget(process)
        for child in self._children.values():
            if child.process is None:
                if now_s >= child.restart_s:
                    self._launch(child)
            elif child.process.poll() is not None:
                self._crashed(child, f"ended with {_outcome(child.process.returncode)}", now_s)

    def wait_ready(self, name: str, timeout_s: float) -> None:
        """Returns once the service is ready.

        Raises:
          Unavailable: it was not in time; shows the end of its log.
        """
        child = self._children[name]
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            self.poll()
            if child.is_ready():
                return
            if child.crashes >= 3:
                break
            time.sleep(0.05)
        tail = "".join(f"\n  {name} | {line}" for line in _tail(child.service.log))
        state = f"crashed {child.crashes} times" if child.crashes else f"did not get ready in {timeout_s:.0f} s"
        raise Unavailable(name, f"{state}; its log is {child.service.log}{tail}")

    def is_ready(self, name: str) -> bool:
        """Whether a service runs and answers now."""
        child = self._children.get(name)
        return child is not None and child.is_ready()

    def states(self) -> dict[str, bool]:
        """Name of each child -> whether it runs; cheap, unlike `is_ready`."""
        return {name: c.process is not None and c.process.poll() is None for name, c in self._children.items()}

    def stop(self, name: str) -> None:
        """Ends one child or job and no longer restarts it."""
        child = self._children.pop(name, None)
        process = child.process if child else self._jobs.pop(name, None)
        if process is not None:
            self._end(name, process)

    def close(self) -> None:
        """Ends everything, the youngest first, and the guardian once nothing is left to guard."""
        for name in [*reversed(self._jobs), *reversed(self._children)]:
            self.stop(name)
        _close(self._guardian)

    def _launch(self, child: _Child) -> None:
        now_s = time.monotonic()
        try:
            child.process, child.started_s = child.service.launch(), now_s
        except (OSError, Unavailable) as e:
            self._crashed(child, f"could not be started ({e})", now_s)
        else:
            self._tell(f"+{child.process.pid}")

    def _crashed(self, child: _Child, what: str, now_s: float) -> None:
        if child.process is not None:
            self._forget(child.process)
        child.crashes = 1 if now_s - child.started_s > STABLE_S else child.crashes + 1
        backoff_s = min(FIRST_BACKOFF_S * 2 ** (child.crashes - 1), LAST_BACKOFF_S)
        child.process, child.restart_s = None, now_s + backoff_s
        self.say(f"{child.service.name} {what}; starting it again in {backoff_s:.1f} s (log: {child.service.log})")
        words = _tail(child.service.log)
        if words != child.last_words:  # said once, however often it ends the same way
            child.last_words = words
            for line in words:
                self.say(f"  {child.service.name} | {line}")

    def _end(self, name: str, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            _signal(process, signal.SIGTERM)
            try:
                process.wait(self.grace_s)
            except subprocess.TimeoutExpired:
                self.say(f"{name} did not end in {self.grace_s:.0f} s; killing it")
        self._forget(process)

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        """After the leader of a group has ended: nothing of the group may outlive it."""
        _signal(process, signal.SIGKILL)
        process.wait()
        self._tell(f"-{process.pid}")

    def _start_guardian(self) -> subprocess.Popen[bytes]:
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(guardian.__file__), str(self.grace_s)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        for pid in self.pids().values():
            _write(guard, f"+{pid}")
        return guard

    def _tell(self, line: str) -> None:
        _write(self._guardian, line)


def _write(guard: subprocess.Popen[bytes], line: str) -> None:
    assert guard.stdin is not None
    # If it was killed, `poll` starts another, which gets the whole list.
    with contextlib.suppress(BrokenPipeError):
        guard.stdin.write(f"{line}\n".encode())


def _close(guard: subprocess.Popen[bytes]) -> None:
    assert guard.stdin is not None
    guard.stdin.close()
    guard.wait()


def _launch(arguments: list[str], environment: Mapping[str, str], log: Path, nice: int) -> subprocess.Popen[bytes]:
    command = [*(["nice", "-n", str(nice)] if nice else []), sys.executable, "-m", "offerrank", *arguments]
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            process_group=0,
        )


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _outcome(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _tail(log: Path) -> list[str]:
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - 8192, 0))
        return file.read().decode(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
