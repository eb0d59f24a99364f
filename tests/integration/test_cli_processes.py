"""The supervisor: restarts what crashes, and leaves no process behind, however it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from domain.errors import Unavailable
from offerrank.ports import accepts_connections
from offerrank.processes import Service, Supervisor

SLEEPER = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
PARENT = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); time.sleep(600)"


def service(run_dir: Path, name: str, code: str, ready: Callable[[], bool] = lambda: True) -> Service:
    log = run_dir / "logs" / f"{name}.log"

    def launch() -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            return subprocess.Popen([sys.executable, "-c", code], stdout=out, stderr=subprocess.STDOUT, process_group=0)

    return Service(name, launch, ready, log)


def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_whoever_else_answers_on_a_service_s_port_is_not_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, Supervisor(tmp_path, lambda _: None) as supervisor:
        port = other.getsockname()[1]
        late = f"import socket, time; time.sleep(1); s = socket.create_server(('127.0.0.1', {port}))"
        supervisor.start(replace(service(tmp_path, "late", late, lambda: accepts_connections("127.0.0.1", port)), port=port))
        with pytest.raises(Unavailable, match=r"(?s)late: crashed .*Address already in use"):
            supervisor.wait_ready("late", 30)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", SLEEPER], process_group=0)
    yield process
    process.kill()
    process.wait()


def test_closing_ends_children_grandchildren_and_those_that_ignore_sigterm(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    before = set(psutil.Process().children(recursive=True))
    said: list[str] = []
    with Supervisor(tmp_path, said.append, grace_s=0.5) as supervisor:
        supervisor.start(service(tmp_path, "parent", PARENT))
        supervisor.start(service(tmp_path, "stubborn", STUBBORN))
        parent = psutil.Process(supervisor.pids()["parent"])
        until(lambda: len(parent.children()) == 1)
        until(lambda: "up" in (tmp_path / "logs" / "stubborn.log").read_text())
        family = [*psutil.Process().children(recursive=True)]
        assert len(set(family) - before) == 4  # parent, its child, stubborn, the guardian
    until(lambda: all(gone(p.pid) for p in family if p not in before))
    assert stranger.poll() is None
    assert any("did not end" in line for line in said)


def test_children_end_youngest_first(tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = (
        "import signal, sys, time\n"
        f"def leave(*_):\n  open({str(order)!r}, 'a').write(NAME); sys.exit()\n"
        "signal.signal(signal.SIGTERM, leave); print('up', flush=True); time.sleep(600)"
    )
    with Supervisor(tmp_path, print) as supervisor:
        for name in "abc":
            supervisor.start(service(tmp_path, name, f"NAME = {name!r}\n{code}"))
            until(lambda name=name: "up" in (tmp_path / "logs" / f"{name}.log").read_text())  # type: ignore[misc]
    assert order.read_text() == "cba"


def test_a_crashed_child_is_started_again_with_growing_back_off_and_its_last_words_are_shown(tmp_path: Path) -> None:
    said: list[str] = []
    with Supervisor(tmp_path, said.append) as supervisor:
        supervisor.start(service(tmp_path, "gateway", "print('no such market'); raise SystemExit(3)"))

        def crashed_twice() -> bool:
            supervisor.poll()
            return sum("starting it again" in line for line in said) >= 2

        until(crashed_twice)
    restarts = [line for line in said if "starting it again" in line]
    assert "gateway ended with exit code 3" in restarts[0]
    assert "0.5 s" in restarts[0]
    assert "1.0 s" in restarts[1]
    assert "  gateway | no such market" in said


def test_a_killed_child_comes_back(tmp_path: Path) -> None:
    said: list[str] = []
    with Supervisor(tmp_path, said.append) as supervisor:
        supervisor.start(service(tmp_path, "pacer", SLEEPER))
        first = supervisor.pids()["pacer"]
        os.kill(first, signal.SIGKILL)

        def back() -> bool:
            supervisor.poll()
            return supervisor.pids().get("pacer", first) != first

        until(back)
    assert "signal SIGKILL" in said[0]


def test_what_does_not_get_ready_says_why(tmp_path: Path) -> None:
    with Supervisor(tmp_path, lambda _: None) as supervisor:
        supervisor.start(service(tmp_path, "gateway", "raise SystemExit('port 8080 is taken')", ready=lambda: False))
        with pytest.raises(Unavailable, match="gateway \\| port 8080 is taken"):
            supervisor.wait_ready("gateway", 30)


SUPERVISOR = """
import subprocess, sys, time
from pathlib import Path
from offerrank.ports import accepts_connections
from offerrank.processes import Service, Supervisor
from serving.embedded_redis import EmbeddedRedis

run_dir = Path(sys.argv[1])
def launch(code):
    return lambda: subprocess.Popen([sys.executable, "-c", code], process_group=0)
redis = EmbeddedRedis(run_dir / "redis")
supervisor = Supervisor(run_dir, print, grace_s=0.5)
def start_redis():
    redis.start()
    return redis.process
supervisor.start(Service("redis", start_redis, lambda: True, run_dir / "redis" / "redis.log"))
supervisor.start(Service("stubborn", launch(sys.argv[2]), lambda: True, run_dir / "s.log"))
supervisor.start(Service("parent", launch(sys.argv[3]), lambda: True, run_dir / "p.log"))
time.sleep(1)
print("pids", *supervisor.pids().values(), flush=True)
time.sleep(600)
"""


def test_nothing_outlives_a_supervisor_killed_outright(tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
    command = [sys.executable, "-c", SUPERVISOR, str(tmp_path), STUBBORN, PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        line = next(line for line in supervisor.stdout if line.startswith("pids"))
        family = psutil.Process(supervisor.pid).children(recursive=True)
        assert len(family) == 5  # Redis, stubborn, parent and its child, the guardian
        assert {int(pid) for pid in line.split()[1:]} <= {p.pid for p in family}
        supervisor.kill()
        supervisor.wait()
        until(lambda: all(gone(p.pid) for p in family))
    assert stranger.poll() is None


def test_a_killed_guardian_is_replaced_and_knows_everybody(tmp_path: Path) -> None:
    with Supervisor(tmp_path, print) as supervisor:
        before = set(psutil.Process().children())
        supervisor.start(service(tmp_path, "sleeper", SLEEPER))
        guardian = next(p for p in before if any("guardian" in part for part in p.cmdline()))
        guardian.kill()
        until(lambda: gone(guardian.pid))
        supervisor.poll()
        again = [p for p in psutil.Process().children() if p not in before and any("guardian" in part for part in p.cmdline())]
        assert len(again) == 1
    until(lambda: all(gone(p.pid) for p in again))
