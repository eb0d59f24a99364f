"""Keeps the books while the archiver archives: posts what it has committed, and every minute holds the sums against Redis.

A thread of the archiver's process, so that whatever becomes of the books, archiving goes on. Its only input is the archive: it
catches up after a crash, a full disk or a deleted file in the same way as after a minute.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import redis

from domain.errors import OfferRankError, Unavailable
from domain.keys import Keys, partition_of
from features.market import Market
from serving.budget_days import budget_ttl_ms
from serving.ledger.archive import parts_since
from serving.ledger.books import At, LedgerBooks
from serving.ledger.database import LedgerDamaged, ledger_path
from serving.ledger.reconcile import Days, Reconciliation, reconcile, time_ms
from serving.ledger.report import report
from serving.ledger.store import LedgerStore
from serving.repair.servers import whole

log = logging.getLogger("offerrank.ledger")
TURN_S = 1.0
RECONCILE_S = 60.0
LAST_TURN_S = 5.0
OLDER_EVERY = 60
"""Accounts of earlier days that nothing happens to are compared once in so many reconciliations."""


class LedgerKeeper:
    """The books' writer.

    Args:
      reconcile_s: time between two reconciliations.
    """

    def __init__(
        self,
        client: "redis.Redis",
        market: Market,
        log_dir: Path,
        reconcile_s: float = RECONCILE_S,
    ) -> None:
        self._client, self._market, self._log_dir = client, market, log_dir
        self._budget_ttl_ms, self._reconcile_s = budget_ttl_ms(market), reconcile_s
        self._path, self._keys = ledger_path(log_dir), Keys(market.name)
        self._store: LedgerStore | None = None
        self._suspects: set[At] = set()
        self._turns = 0
        self._trouble = ""
        self._reconcile_at = time.monotonic()
        self._give_up_at = float("inf")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def __enter__(self) -> "LedgerKeeper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Posts and reconciles what is archived by now, and ends; a long arrear waits for the next start."""
        self._give_up_at = time.monotonic() + LAST_TURN_S
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        last = False
        while not last:
            last = self._stop.wait(TURN_S)
            try:
                self.turn(last)
            except Exception:
                log.exception("the books wait")  # our bug: the archiver goes on, and the light goes out as nothing is reconciled
        self.close()

    def turn(self, last: bool = False) -> None:
        """Posts what is new; reconciles when it is time to. What is in the way is said once, and met again next turn."""
        trouble = self._trying(self.catch_up)
        if last or time.monotonic() >= self._reconcile_at:
            self._reconcile_at = time.monotonic() + self._reconcile_s
            trouble = self._trying(partial(self.reconcile, trouble)) or trouble
        if trouble == self._trouble:
            return
        if trouble:
            log.error("the books wait, nothing is lost: %s", trouble)
        else:
            log.info("the books are up to date again")
        self._trouble = trouble
        with suppress(redis.RedisError):
            self._client.hset(self._keys.ledger, "trouble", trouble)

    def _trying(self, step: Callable[[], object]) -> str:
        try:
            step()
        except LedgerDamaged as e:
            self._set_aside(str(e))
            return str(e)
        except (OfferRankError, redis.RedisError, OSError) as e:
            return str(e)
        return ""

    def catch_up(self) -> int:
        """Posts what is archived and not in the books; how many transfers that made."""
        made, store = 0, self._open()
        for archived, entries in parts_since(self._log_dir, store.posted()):
            book = store.post(archived.number, entries, archived.last)
            made += len(book.transfers)
            for refusal in book.refusals:
                log.error("refused: %s", refusal)
            if time.monotonic() > self._give_up_at:
                break
        return made

    def reconcile(self, trouble: str = "") -> Reconciliation:
        """Compares with Redis, takes over holds and limits, and says in Redis what was found and what `trouble` there is."""
        if not whole(self._client, self._keys):
            raise Unavailable("redis", "it may have lost data: the pacer looks at it, and repairs it")
        at_ms = time_ms(self._client, self._keys)
        store = self._open()
        store.expire(at_ms - self._budget_ttl_ms)
        self._turns += 1
        days = Days.at(at_ms, self._market)
        with LedgerBooks(self._log_dir) as books:
            found = reconcile(self._client, self._market, books, days, self._is_due)
            refused = books.refused()
        if found.differences and {(a.campaign, a.day) for a in found.differences} != self._suspects:
            log.error("log and Redis differ: %s", "; ".join(map(str, found.differences[:5])))
        self._suspects = {(a.campaign, a.day) for a in found.differences}
        self._mirror(store, found)
        said = report(found, self._market, at_ms, self._reconcile_s, refused)
        self._client.hset(self._keys.ledger, mapping=said | {"trouble": trouble})
        return found

    def _is_due(self, at: At) -> bool:
        return at in self._suspects or (partition_of(at[0]) + at[1] + self._turns) % OLDER_EVERY == 0

    def _mirror(self, store: LedgerStore, found: Reconciliation) -> None:
        advertiser = {c.id: c.advertiser for c in self._market.campaigns}
        known = {at: b for at, b in found.budgets.items() if at[0] in advertiser and b.open}
        held = {(c, advertiser[c], day): b.held_micros for (c, day), b in known.items()}
        store.mirror(held, {at: b.limit_micros for at, b in known.items()}, found.days.first)

    def _open(self) -> LedgerStore:
        if self._store and not self._path.exists():
            log.warning("%s is gone: it is written anew from the archive", self._path)
            self.close()
        if self._store is None:
            self._store = LedgerStore(self._path)
        return self._store

    def close(self) -> None:
        """Lets go of the file; the next turn opens it again."""
        if self._store:
            self._store.close()
        self._store = None

    def _set_aside(self, why: str) -> None:
        """A damaged file is kept for who wants to look; one is enough."""
        self.close()
        log.error("%s; it is set aside and written anew from the archive", why)
        for suffix in ("-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        if self._path.exists():
            self._path.replace(self._path.with_suffix(".damaged"))
