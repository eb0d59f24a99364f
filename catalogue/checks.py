"""What a changed advertiser, campaign or offer must be; what is wrong is refused where it is written, and no gateway meets it."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from catalogue.kinds import Entry
from domain.campaign import Advertiser, Campaign, Offer
from domain.errors import InvalidChange, InvalidMarket, shown
from domain.refusals import Misfit, first_refusal
from features.market import Market
from features.market_checks import check_campaign, check_features


def check(market: Market, entry: Entry) -> None:
    """Whether it fits the market's features and tasks.

    Raises:
      InvalidChange: the first thing wrong, with the field and the value.
    """
    by_name = {f.name: f for f in market.features}
    try:
        if isinstance(entry, Campaign):
            check_campaign(market, by_name, entry, f'campaign "{entry.id}"')
        elif isinstance(entry, Offer):
            check_features(by_name, entry, f'offer "{entry.id}"')
    except Misfit as e:
        raise InvalidChange(e.key, e.sentence) from None


def parse(kind: type[BaseModel], given: Mapping[str, Any], at: str) -> Any:
    """An advertiser, campaign or offer from JSON or TOML.

    Args:
      at: names it in the error.
    Raises:
      InvalidChange: the first thing wrong, with the field and the value.
    """
    try:
        return kind.model_validate(given)
    except ValidationError as e:
        wrong = first_refusal(e, given)
        key = ".".join(map(str, (at, *wrong.location, *([wrong.key] if wrong.key else []))))
        raise InvalidChange(key, f"{wrong.sentence}, got {shown(wrong.got)}" if wrong.has_got else wrong.sentence) from None


def stored(entry: Entry) -> str:
    """As the database has it: JSON of what is not the default."""
    return orjson.dumps(entry.model_dump(mode="json", exclude_defaults=True)).decode()


def read_advertisers(bodies: Sequence[bytes]) -> list[Advertiser]:
    """Advertisers of the database; raises InvalidMarket where this version of OfferRank cannot read one."""
    try:
        return [parse(Advertiser, orjson.loads(body), "advertiser") for body in bodies]
    except InvalidChange as e:
        raise InvalidMarket(e.field, e.expected) from None


def read_campaigns(market: Market, bodies: Sequence[bytes]) -> list[Campaign]:
    """Campaigns of the database, which must fit this market file.

    Raises:
      InvalidMarket: one does not, such as by a feature that the file had when it was written.
    """
    try:
        found = [parse(Campaign, orjson.loads(body), "campaign") for body in bodies]
        for campaign in found:
            check(market, campaign)
    except InvalidChange as e:
        raise InvalidMarket(e.field, e.expected) from None
    return found


def check_offers(market: Market, offers: Sequence[Offer]) -> None:
    """Whether offers of the database fit this market file; one that has features which the file no longer names does.

    Raises:
      InvalidMarket: one has a value that is not of its feature's dtype.
    """
    for offer in offers:
        for f in market.offer_features:
            try:
                market.offer_value(offer, f)
            except ValueError as e:
                raise InvalidMarket(f'offer "{offer.id}".features.{f.name}', str(e)) from None
