"""A thread that tells receivers, each at its own pace: one that is slow or away keeps nobody waiting but itself."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from domain.clock import now_ms
from domain.errors import OfferRankError
from monitoring.incidents.alerts import formats, outbox
from monitoring.incidents.alerts.alert import Alert
from monitoring.incidents.alerts.digest import Digest
from monitoring.incidents.alerts.mail import Undelivered
from monitoring.incidents.alerts.receivers import DEADLINE_S, Receiver, receivers_of, session
from monitoring.incidents.alerts.settings import AlertSettings
from monitoring.incidents.database import INCIDENTS
from store.sqlite import transaction

LOOK_S = 1.0
log = logging.getLogger("offerrank.alerts")


class Sender:
    """Tells what the history of the incidents says, until it is stopped; what is not told by then is told by the next one.

    Args:
      path: the incidents' file.
    """

    def __init__(
        self,
        path: Path,
        settings: AlertSettings,
        market: str,
        currency: str,
        deadline_s: float = DEADLINE_S,
        look_s: float = LOOK_S,
    ) -> None:
        self._path, self._settings, self._market, self._currency = path, settings, market, currency
        self._deadline_s, self._look_s = deadline_s, look_s
        self._db: sqlite3.Connection | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="alerts", daemon=True)

    def start(self) -> None:
        """Starts to tell."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, within the time of one attempt."""
        self._stop.set()
        self._thread.join(self._deadline_s + self._look_s)

    async def _run(self) -> None:
        async with session(self._deadline_s) as client:
            await asyncio.gather(*(self._serve(one) for one in receivers_of(self._settings, client, self._deadline_s)))

    async def _serve(self, receiver: Receiver) -> None:
        trouble = ""
        while not self._stop.is_set():
            try:
                told = await self._tell_next(receiver)
                trouble = ""
            except OfferRankError as e:  # the file cannot be used now
                told = False
                if str(e) != trouble:
                    log.error("alerts wait: %s", e)
                trouble = str(e)
            if not told:
                await asyncio.sleep(self._look_s)

    async def _tell_next(self, receiver: Receiver) -> bool:
        """Tells what is to be told next; whether there was anything."""
        task = self._claim(receiver.name)
        if task is None:
            return False
        try:
            await receiver.tell(self._message(task))
        except Undelivered as e:
            if task.attempts == 1:
                log.warning("%s did not take an alert, will be tried again: %s", receiver.name, e)
            self._settle(task, str(e), e.wait_ms)
        except Exception as e:  # an alert that cannot be written must not keep the others
            log.exception("an alert could not be made for %s", receiver.name)
            self._settle(task, f"{type(e).__name__}", outbox.LONGEST_WAIT_MS)
        else:
            self._settle(task)
        return True

    def _message(self, task: outbox.Task) -> Alert | Digest:
        """Of many, those that can be written: one that cannot must not keep the others for days."""
        of_market = self._market, self._currency, self._settings.alert_page_url
        if len(task.rows) == 1:
            return Alert.of(task.rows[0], *of_market, calm=not task.live)
        alerts = []
        for row in task.rows:
            try:
                alert = Alert.of(row, *of_market, calm=not task.live)
                formats.plain(alert)
                formats.slack(alert)
            except Exception:
                log.exception("an alert could not be made, and is left out")
            else:
                alerts.append(alert)
        return Digest(tuple(alerts))

    def _claim(self, name: str) -> outbox.Task | None:
        with self._reading() as db:
            if outbox.is_idle(db, name, now_ms()):
                return None
            with transaction(db):
                outbox.enlist(db, name, now_ms())
                return outbox.claim(db, name, now_ms())

    def _settle(self, task: outbox.Task, error: str | None = None, wait_ms: int | None = None) -> None:
        with self._reading() as db, transaction(db):
            if error is None:
                outbox.done(db, task, now_ms())
            else:
                outbox.failed(db, task, now_ms(), error, wait_ms)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """The file, opened anew after it could not be used."""
        if self._db is None:
            self._db = INCIDENTS.open_to_write(self._path)
        try:
            with INCIDENTS.named_errors(self._path):
                yield self._db
        except OfferRankError:
            self._db.close()
            self._db = None
            raise
