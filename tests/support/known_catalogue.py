"""Catalogues to be changed in tests: the golden market's, in a database of its own."""

from pathlib import Path
from typing import Any

from catalogue.database import Database
from catalogue.repository import Edit, Made, Repository
from domain.campaign import Campaign, Offer
from features.market import Market, load_market

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "market.toml"
MARKET = load_market(GOLDEN)
FILE_ONLY: Market = MARKET.selling((), ())
AT_MS = 1_800_000_000_000


def campaign(name: str, /, **changes: Any) -> Edit:
    """One of the golden market's campaigns, or one like the first, otherwise than it is."""
    known = MARKET.campaign_by_id.get(name, MARKET.campaigns[0])
    return Edit("campaign", name, Campaign.model_validate(known.model_dump() | {"id": name} | changes))


def offer(name: str, /, **changes: Any) -> Edit:
    """The same for an offer."""
    known = next((o for o in MARKET.offers if o.id == name), MARKET.offers[0])
    return Edit("offer", name, Offer.model_validate(known.model_dump() | {"id": name} | changes))


def everything() -> list[Edit]:
    """All that the golden market lists."""
    return [*(Edit("campaign", c.id, c) for c in MARKET.campaigns), *(Edit("offer", o.id, o) for o in MARKET.offers)]


class Shelf:
    """A catalogue that tests change."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = Database(url)
        self.repository = Repository(self.database, MARKET)

    def change(self, *edits: Edit, **how: Any) -> Made:
        """By nobody in particular."""
        return self.repository.change(edits, **{"by": "ann", "why": "", "at_ms": AT_MS} | how)

    def bodies(self, version: int) -> dict[tuple[str, str], str | None]:
        """All that there is at a version."""
        return {(row.kind, row.id): row.body for row in self.repository.rows(version)}
