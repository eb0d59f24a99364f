"""Follows a catalogue in a thread, so that a database that hangs holds up nothing else."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from catalogue.follower import Follower
from catalogue.stock import Stock
from features.market import Market

POLL_S = 0.5
LOOK_S = 0.1


class FollowingThread:
    """Begins with what `Follower.start` finds, whose errors it raises; looks twice a second while it is entered.

    Args:
      tell: called by the thread with what is sold from now on.
      starts: False begins with what the market lists.
    """

    def __init__(
        self,
        url: str,
        market: Market,
        snapshots: Path | None,
        *,
        offers: bool = True,
        tell: Callable[[Market], None] | None = None,
        starts: bool = True,
    ) -> None:
        self._follower = Follower(url, market, snapshots, offers=offers)
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="catalogue", daemon=True)
        self._tell = tell
        self.stock: Stock = self._follower.start() if starts else self._follower.stock
        """What is sold by the last look."""

    def __enter__(self) -> "FollowingThread":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(POLL_S)
        if not self._thread.is_alive():  # one that waits for the database ends with the process
            self._follower.close()

    @property
    def reads(self) -> bool:
        """Whether the last look found the database."""
        return self._follower.reads

    def wait(self, seconds: float, stop: threading.Event) -> Stock | None:
        """Waits, until something else is sold or it is to stop; what is sold since the last call, if that is something else."""
        until = time.monotonic() + seconds
        while not self._changed.is_set() and (left := until - time.monotonic()) > 0:
            if stop.wait(min(left, LOOK_S)):
                return None
        if not self._changed.is_set():
            return None
        self._changed.clear()
        return self.stock

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            if (changed := self._follower.poll()) is not None:
                self.stock = changed
                if self._tell is not None:
                    self._tell(changed.market)
                self._changed.set()
