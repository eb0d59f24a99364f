"""Who may look at which campaigns, and who may change them.

What somebody may not see is not there for him: 404. What he may see and not change, or would make for others, is 403.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from catalogue.browsing import Owners
from serving.gateway.limits import RateLimit
from serving.gateway.wire import HttpError
from store.key_records import Role
from store.keyring import Keyring

HOW = "expected a key of a viewer, manager or operator: `Authorization: Bearer KEY`"
LONGEST_KEY = 200


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks."""

    name: str
    """Of the key: `by` of the changes it makes."""
    role: Role
    owners: Owners
    """Advertisers whose entries are there for him; None for all."""

    def sees(self, advertiser: str | None) -> bool:
        """Whether an advertiser's entries are there for him."""
        return self.owners is None or advertiser in self.owners

    def require(self, role: Role, what: str) -> None:
        """Raises HttpError 403 unless his role includes `role`."""
        if not self.role.includes(role):
            raise HttpError(403, "key", f"{what} needs {'an' if role is Role.OPERATOR else 'a'} {role}'s key")

    def require_owner(self, advertiser: str | None, field: str) -> None:
        """Raises HttpError 403 where something would be made another advertiser's."""
        if not self.sees(advertiser):
            raise HttpError(403, field, "expected one of the advertisers that this key is for", advertiser)


class Access:
    """Lets in whom a key lets in."""

    def __init__(self, keys: Callable[[], Keyring], clock: Callable[[], int]) -> None:
        self._keys, self._clock, self._by_key = keys, clock, RateLimit()

    def admit(self, request: Request) -> Who:
        """Whoever asks.

        Raises:
          HttpError: 401 without a key that is known, 403 with one that is for something else, 429 too often.
        """
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        text = text.strip() if scheme.lower() == "bearer" else request.headers.get("x-offerrank-key", "")
        key = self._keys().find(text, self._clock()) if text and len(text) <= LONGEST_KEY else None
        if key is None:
            message = "this key is unknown, or is one no more" if text else HOW
            raise HttpError(401, "key", message, headers={"www-authenticate": "Bearer"})
        if not key.role.includes(Role.VIEWER):
            raise HttpError(403, "key", f"a {key.role}'s key is for the gateway")
        if key.per_second is not None and (wait_s := self._by_key.wait_s(key.name, key.per_second, time.monotonic())):
            raise HttpError(429, "key", "too many requests with this key", headers={"retry-after": str(math.ceil(wait_s))})
        return Who(key.name, key.role, key.advertisers or None)
