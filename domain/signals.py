"""Told to stop: Ctrl-C, `kill`, or, for what runs in a terminal, its closing."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

SERVICE = (signal.SIGINT, signal.SIGTERM)
TERMINAL = (*SERVICE, signal.SIGHUP)


@contextmanager
def told_to_stop(numbers: tuple[signal.Signals, ...] = SERVICE) -> Iterator[threading.Event]:
    """An event that these signals set, until the block ends; outside the main thread, which alone may handle them, never."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    told: SimpleQueue[bool] = SimpleQueue()
    # A handler runs between two instructions of the main thread, which may hold the event's lock just then: setting it there
    # would wait for itself. A SimpleQueue's put is safe in a handler.

    def listen() -> None:
        if told.get():
            stop.set()

    setter = threading.Thread(target=listen, name="signals", daemon=True)
    setter.start()
    before = {number: signal.signal(number, lambda *_: told.put(True)) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        told.put(False)
        setter.join()
