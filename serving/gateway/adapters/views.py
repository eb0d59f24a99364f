"""What a gateway sells from: the catalogue as it was at the start, or as it is followed while people change it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from features.market import Market
from monitoring import metrics
from serving.gateway.adapters.releases import FolderReleases
from serving.gateway.market_view import MarketView

if TYPE_CHECKING:
    from catalogue.follower import Follower

POLL_S = 0.5

log = logging.getLogger(__name__)


class FollowedViews:
    """Swaps whole catalogues, with what else is laid out by their offers and campaigns, between two decisions.

    Args:
      follower: None where nothing changes while this process lives.
      releases: whose active one is laid over a new catalogue before either is used.
      followers: told of the market with its new catalogue at the moment it is.
    """

    def __init__(
        self,
        view: MarketView,
        follower: "Follower | None",
        releases: FolderReleases,
        followers: Sequence[Callable[[Market], None]],
    ) -> None:
        self._view, self._follower, self._releases, self._followers = view, follower, releases, followers
        metrics.CATALOGUE_VERSION.set(view.version)

    def current(self) -> MarketView:
        """Of the last swap."""
        return self._view

    def standing(self) -> dict[str, Any]:
        """For /readyz."""
        return {"version": self._view.version, "followed": None if self._follower is None else self._follower.reads}

    def close(self) -> None:
        """Gives up the follower's connections."""
        if self._follower is not None:
            self._follower.close()

    async def watch(self) -> None:
        """Looks for ever."""
        while self._follower is not None:
            await self.refresh()
            metrics.CATALOGUE_AWAY.set(not self._follower.reads)
            await asyncio.sleep(POLL_S)

    async def refresh(self) -> None:
        """Looks once, and swaps if there is something new."""
        assert self._follower is not None
        changed = await asyncio.to_thread(self._follower.poll)
        if changed is None:
            return
        if changed.since == self._view.version and changed.splice is not None:
            view = await asyncio.to_thread(self._view.after, changed.market, changed.version, changed.splice)
        else:
            view = await asyncio.to_thread(MarketView.of, changed.market, changed.version, self._view.file)
        before = None
        while before is not (active := self._releases.active()):  # another may rank by the time it is laid out
            over, before = await asyncio.to_thread(self._releases.over, view, active), active
        self._releases.follow(view, over)
        for follow in self._followers:
            follow(view.market)
        self._view = view
        metrics.CATALOGUE_VERSION.set(view.version)
        log.info("catalogue %d is sold: %d offers of %d campaigns", view.version, len(view.offers), len(view.market.campaigns))
