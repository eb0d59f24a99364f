"""A signal is heard whatever the process is doing at that moment."""

import signal
import subprocess
import sys

import pytest

WAITS_ALL_THE_TIME = """
from domain.signals import told_to_stop
with told_to_stop() as stop:
    print("up", flush=True)
    while not stop.wait(0):
        pass
print("stopped", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_about_to_wait_hears_that_it_is_to_stop(number: signal.Signals) -> None:
    """A handler that took the event's lock would wait for itself in some of these, for good."""
    command = [sys.executable, "-c", WAITS_ALL_THE_TIME]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(12)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            process.send_signal(number)
        assert [process.communicate(timeout=10)[0] for process in processes] == ["stopped\n"] * 12
    finally:
        for process in processes:
            process.kill()
            process.communicate()
