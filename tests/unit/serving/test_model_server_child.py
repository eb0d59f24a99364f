"""A model server that a process starts for itself goes when that process does, however it ends."""

import signal
import subprocess
import sys
from pathlib import Path


def test_it_ends_with_its_standard_input(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "serving.model_server.child", "--model-base-path", str(tmp_path)]
    command += ["--port", "0", "--rest-port", "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as process:
        assert process.stdin is not None
        process.stdin.close()
        # Before it listens for signals the signal itself ends it.
        assert process.wait(120) in (0, -signal.SIGTERM)
