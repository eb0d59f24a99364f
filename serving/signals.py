"""Told to stop: Ctrl-C, `kill`, or, for what runs in a terminal, its closing."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SERVICE = (signal.SIGINT, signal.SIGTERM)
TERMINAL = (*SERVICE, signal.SIGHUP)


@contextmanager
def told_to_stop(numbers: tuple[signal.Signals, ...] = SERVICE) -> Iterator[threading.Event]:
    """An event that these signals set, until the block ends; outside the main thread, which alone may handle them, never."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
