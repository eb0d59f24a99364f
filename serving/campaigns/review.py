"""Who decides that an offer may be shown: operators alone. What a manager writes waits for one of them."""

from typing import Any

import orjson

from domain.campaign import Offer, Review
from serving.campaigns.access import Who
from serving.gateway.wire import HttpError
from store.key_records import Role

SEEN = ("title", "body", "landing_url", "image", "video", "html")
"""What a review is of."""


def reviewed(who: Who, before: str | None, after: Offer, given: Any) -> Offer:
    """The offer with the review that it has once this person has written it.

    Args:
      before: JSON of the offer as it is; None where it is new.
      given: what he has written, as JSON.
    Raises:
      HttpError: 403, he asks for another.
    """
    if who.role.includes(Role.OPERATOR):
        return after
    was = orjson.loads(before) if before else {}
    same = bool(was) and all(was.get(name) == after.model_dump(mode="json", exclude_defaults=True).get(name) for name in SEEN)
    review = Review(was.get("review", Review.APPROVED)) if same else Review.PENDING
    asked_for = given.get("review") if isinstance(given, dict) else None
    if asked_for is not None and asked_for != review:
        raise HttpError(403, "review", "a review needs an operator's key", asked_for)
    return after.model_copy(update={"review": review})
