"""A PostgreSQL of its own for tests: a folder, a free port, nobody else's."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from store.ports import free_port

DEBIAN = Path("/usr/lib/postgresql")


def find_postgresql() -> Path:
    """The folder of its programs; without them the test is skipped, but in CI it fails."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(DEBIAN.glob("*/bin"), key=lambda f: int(f.parent.name))
    if not folders:
        if os.environ.get("CI"):
            pytest.fail("no PostgreSQL on PATH or in /usr/lib/postgresql")
        pytest.skip("no PostgreSQL on PATH or in /usr/lib/postgresql")
    return folders[-1]


class Postgresql:
    """One server. It refuses to run as root, in whose place it is the package's own user."""

    def __init__(self) -> None:
        self._programs, self._as = find_postgresql(), ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        self._folder = Path(tempfile.mkdtemp(prefix="offerrank-postgresql-"))
        self._port, self._made = free_port(), 0
        if self._as:
            shutil.chown(self._folder, "postgres")
        self._run("initdb", "--auth=trust", "--username=offerrank", "--no-sync", "--pgdata", str(self._folder / "data"))
        self.start()

    def start(self) -> None:
        """Returns once it takes connections."""
        options = f"-c listen_addresses=127.0.0.1 -p {self._port} -c unix_socket_directories='' -c fsync=off"
        self._run("pg_ctl", "start", "--wait", "-D", str(self._folder / "data"), "-o", options, "-l", str(self._folder / "log"))

    def stop(self) -> None:
        """With what is connected to it."""
        self._run("pg_ctl", "stop", "--wait", "-D", str(self._folder / "data"), "-m", "fast")

    def new_database(self) -> str:
        """The URL of an empty one."""
        self._made += 1
        name, server = f"catalogue{self._made}", ("-h", "127.0.0.1", "-p", str(self._port), "-U", "offerrank")
        self._run("createdb", *server, name)
        return f"postgresql+psycopg://offerrank@127.0.0.1:{self._port}/{name}"

    def close(self) -> None:
        """Leaves nothing behind."""
        self.stop()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*self._as, self._programs / program, *arguments],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr.decode()
