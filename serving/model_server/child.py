"""`python -m serving.model_server.child ...`: the model server as a part of another process.

It ends with its standard input, so also when that process is killed and can end nothing itself.
"""

import os
import runpy
import signal
import sys
import threading


def end_with_input() -> None:
    """Waits for it in a thread; SIGTERM is then what ends the server."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()


if __name__ == "__main__":
    end_with_input()
    runpy.run_module("serving.model_server", run_name="__main__", alter_sys=True)
