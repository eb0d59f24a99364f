"""A market file with what is sold now: for processes that look at it, and sell nothing."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from domain.errors import Unavailable
from features.market import Market, load_market

log = logging.getLogger(__name__)


@contextmanager
def current_market(path: Path, url: str | None, changed: Callable[[Market], None] | None = None) -> Iterator[Market]:
    """The market, which sells what the catalogue says now, and from then on what it says by then.

    Where the database is away at the start, what the file lists stands in for it: nothing is sold by it.

    Args:
      url: of the catalogue's database; None where the file lists what is sold.
      changed: told, in another thread, when something else is sold.
    Raises:
      InvalidMarket: the file is wrong, or the catalogue does not fit it.
    """
    if url is None:
        yield load_market(path)
        return
    from catalogue.following_thread import FollowingThread  # and SQLAlchemy with it

    market = load_market(path, listed=False)

    def sell(sold: Market) -> None:
        market.sell(sold)
        if changed is not None:
            changed(market)

    try:
        thread = FollowingThread(url, market.selling(market.campaigns, market.offers), None, tell=sell)
    except Unavailable as e:
        log.error("the catalogue is not shown before its database is back: %s", e)
        thread = FollowingThread(url, market.selling(market.campaigns, market.offers), None, tell=sell, starts=False)
    sell(thread.stock.market)
    with thread:
        yield market
