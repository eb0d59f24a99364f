"""What `offerrank lineage` answers, asked of it as a process of its own: it reads releases with the code that trains them,
which the page's process does without, and it can be ended when its time is over."""

import re
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from pathlib import Path

import orjson

from monitoring.dashboard.statistics import Json

SECONDS = 30.0
WAIT_S = 10.0
"""How long a second one waits for the first: one at a time, since it takes 100 MB and more."""
KEPT, KEPT_S = 64, 60.0
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Of a release or a decision: no path, and no option."""


class Lineage:
    """Of the releases of one folder, and the decisions of one archive."""

    def __init__(self, releases: Path | None, log_dir: Path | None, seconds: float = SECONDS) -> None:
        self._releases, self._log_dir, self._seconds = releases, log_dir, seconds
        self._free = threading.Lock()
        self._known: OrderedDict[str, tuple[float, Json]] = OrderedDict()

    def of(self, what: str) -> Json:
        """Of a release's version or a decision's id; `trouble` says why it cannot be told."""
        if self._releases is None:
            return _trouble("OFFERRANK_RELEASES names no folder of releases")
        if not _NAME.fullmatch(what) or what.strip(".") == "":
            return _trouble("this is neither a version of a release nor the id of a decision")
        at, known = self._known.get(what, (0.0, {}))
        if known and time.monotonic() - at < KEPT_S:
            return known
        if not self._free.acquire(timeout=min(WAIT_S, self._seconds)):
            return _trouble("others ask for lineage: try again")
        try:
            said = self._ask(what)
        finally:
            self._free.release()
        if "trouble" not in said:
            self._known[what] = (time.monotonic(), said)
            while len(self._known) > KEPT:
                self._known.pop(next(iter(self._known)), None)
        return said

    def _ask(self, what: str) -> Json:
        log = [] if self._log_dir is None else ["--log", str(self._log_dir)]
        command = [sys.executable, "-m", "offerrank", "lineage", "--json", "--releases", str(self._releases), *log, "--", what]
        try:
            done = subprocess.run(command, capture_output=True, timeout=self._seconds, stdin=subprocess.DEVNULL, check=False)
        except subprocess.TimeoutExpired:
            return _trouble(f"not told within {self._seconds:g} s; offerrank lineage {what} takes its time")
        except OSError as e:
            return _trouble(f"offerrank lineage cannot be run: {e}")
        try:
            said = orjson.loads(done.stdout) if done.returncode == 0 else None
        except orjson.JSONDecodeError:
            said = None
        if not isinstance(said, dict):
            told = done.stderr.decode(errors="replace").strip().splitlines()
            return _trouble((told[-1] if told else f"offerrank lineage ended with {done.returncode}")[:500])
        return said


def _trouble(why: str) -> Json:
    return {"trouble": why}
