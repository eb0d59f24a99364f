"""Looks whether the gateway is ready to sell: what its own log cannot say is when it made no entry."""

import http.client
import logging
import os
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

from domain.clock import now_ms
from domain.errors import OfferRankError
from monitoring.incidents.database import INCIDENTS
from monitoring.incidents.minutes import keep_counts
from monitoring.incidents.service_levels import MINUTES, Counts
from store.sqlite import transaction

PATIENCE_S = 2.0
LOOKS_A_MINUTE = 12
LEAST_S = 1.0
log = logging.getLogger("offerrank.watch")


class Looks:
    """A thread that asks a gateway's `/readyz` twelve times a minute of the market, and keeps the answers with the incidents."""

    def __init__(self, path: Path, gateway_url: str, hour_length_ms: int) -> None:
        self._path, self._url, self._hour_ms = path, f"{gateway_url.rstrip('/')}/readyz", hour_length_ms
        self._minute_ms = max(hour_length_ms // MINUTES, 1)
        self._source = f"looks of {os.getpid()}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="looks", daemon=True)

    def start(self) -> None:
        """Starts to look."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, within the time of one look."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        minute, seen, trouble = 0, [0, 0], ""
        while not self._stop.wait(max(self._minute_ms / LOOKS_A_MINUTE / 1000, LEAST_S)):
            at = now_ms() // self._minute_ms * self._minute_ms
            minute, seen = at, seen if at == minute else [0, 0]
            seen[is_ready(self._url)] += 1
            bad, good = (np.array([n], np.int64) for n in seen)
            try:
                self._keep(Counts(np.array([minute], np.int64), good, bad))
                trouble = ""
            except OfferRankError as e:
                if str(e) != trouble:
                    log.error("looks at the gateway are not kept: %s", e)
                trouble = str(e)

    def _keep(self, counts: Counts) -> None:
        db = INCIDENTS.open_to_write(self._path)
        try:
            with INCIDENTS.named_errors(self._path), transaction(db):
                keep_counts(db, self._source, {"availability": counts}, self._hour_ms, now_ms())
        finally:
            db.close()


def is_ready(url: str) -> bool:
    """Whether an address answers 200 in time."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as e:
        e.close()
        return False
    except (OSError, http.client.HTTPException):
        return False
