"""Follows a catalogue: what is sold at the start, and then every change of it, whether the database is there or not."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from catalogue.address import sqlite_path
from catalogue.checks import check_offers
from catalogue.stock import Stock
from domain.errors import DependencyError, InvalidMarket, OfferRankError, Unavailable
from domain.refusals import MISSING
from features.market import Market

if TYPE_CHECKING:
    from catalogue.database import Database
    from catalogue.repository import Head, Kind, Repository
    from catalogue.snapshot import SnapshotFolder

log = logging.getLogger(__name__)


class Follower:
    """One process' view of a database. Not threaded: one call at a time.

    Args:
      market: its campaigns and offers are sold as long as the database holds no catalogue.
      snapshots: folder for the last catalogue; None keeps none.
      offers: whether they are wanted, or campaigns alone.
    """

    def __init__(self, url: str, market: Market, snapshots: Path | None = None, *, offers: bool = True) -> None:
        self._url, self._market = url, market if offers else market.without_offers()
        self._kinds: tuple[Kind, ...] = ("advertiser", "campaign", "offer") if offers else ("advertiser", "campaign")
        self._snapshots = None if snapshots is None else snapshots / f"{market.name}-campaign{'-offer' if offers else ''}"
        self._stock = Stock(market)
        self._history = ""
        self._database: Database | None = None
        self._repository: Repository | None = None
        self._kept: SnapshotFolder | None = None
        self._said = ""
        self._started = False
        self.reads = False
        """Whether the last look found the database, and what it holds could be used."""

    @property
    def stock(self) -> Stock:
        """What is sold by the last look."""
        return self._stock

    def start(self) -> Stock:
        """The newest catalogue, or else the last one that this machine has seen.

        Raises:
          InvalidMarket: it does not fit the market file, or neither holds a campaign.
          Unavailable: the database is away, and this machine has not seen a catalogue.
          ContractError: it is the catalogue of another market.
        """
        kept = self._folder().load(self._market) if self._snapshots and self._snapshots.exists() else None
        if kept is not None:
            self._history, self._stock = kept
        try:
            changed = self._look()
        except DependencyError as e:
            if kept is None:
                raise
            self._say(f"catalogue {self._stock.version} of this machine's disk is sold, the database is away: {e.detail}")
        else:
            self.reads = True
            if changed is None and kept is None:
                if not self._market.campaigns:
                    raise InvalidMarket(
                        "campaigns", f"{MISSING}, and there is no catalogue yet: `offerrank catalogue import` makes one"
                    )
                self._stock = Stock.listed(self._market)
                log.info("the database holds no catalogue yet: what the market file lists is sold")
        self._started = True
        return self._stock

    def poll(self) -> Stock | None:
        """What is sold from now on, if that is something else; else None. Never fails: what is wrong is said once, and looked at
        again the next time."""
        try:
            changed = self._look()
        except OfferRankError as e:
            self._say(f"catalogue {self._stock.version} is still sold, the next cannot be had: {e}")
            self.reads = False
            return None
        if not self.reads:
            log.warning("the catalogue is followed again")
        self.reads, self._said = True, ""
        return changed

    def close(self) -> None:
        """Gives up its connections."""
        if self._database is not None:
            self._database.close()

    def _look(self) -> Stock | None:
        path = sqlite_path(self._url)
        # Where there is no catalogue, nothing is imported that only one needs.
        repository = self._opened() if self._history or path is None or path.exists() else None
        head = None if repository is None else repository.head()
        if repository is None or head is None:
            if self._history:
                raise Unavailable("catalogue", "the database holds none any more")
            return None
        if head.history != self._history or head.version < self._stock.version:
            return self._take_all(repository, head)
        if head.version == self._stock.version:
            return None
        rows = list(repository.rows(head.version, self._stock.version, self._kinds))
        self._stock = self._stock.after(rows, head.version)
        if self._snapshots:
            self._folder().keep(self._history, self._stock, rows)
        return self._stock

    def _take_all(self, repository: "Repository", head: "Head") -> Stock:
        if self._history:
            log.warning("the database holds another catalogue than it did, version %d: it is taken as it is", head.version)
        stock = Stock.of(self._market, repository.rows(head.version, kinds=self._kinds), head.version)
        if self._started:  # at a start whoever lays the offers out finds the one that does not fit, in a fraction of the time
            check_offers(self._market, stock.market.offers)
        self._stock, self._history = stock, head.history
        if self._snapshots:
            self._folder().keep(self._history, self._stock, None)
        return self._stock

    def _opened(self) -> "Repository":
        if self._repository is None:
            from catalogue.database import Database  # SQLAlchemy takes its time, which a process without a database need not
            from catalogue.repository import Repository

            self._database = Database(self._url)
            self._repository = Repository(self._database, self._market)
        return self._repository

    def _folder(self) -> "SnapshotFolder":
        if self._kept is None:
            from catalogue.snapshot import SnapshotFolder  # and Arrow with it

            assert self._snapshots is not None
            self._kept = SnapshotFolder(self._snapshots)
        return self._kept

    def _say(self, what: str) -> None:
        if what != self._said:
            log.error(what)
        self._said = what
