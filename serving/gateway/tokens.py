"""The opaque token in every impression and click URL: what was sold, to whom, at which price.

Encrypted and authenticated (Fernet: AES-128-CBC and HMAC-SHA256), so Redis need not remember an impression until something
happens to it, and a page can neither read the price nor change it. Keys are derived from secret and market: a token means
nothing in another market.
"""

import base64
import hashlib
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Literal

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from domain.campaign import BidKind
from domain.errors import InvalidRequest

MAX_TOKEN = 2048


@dataclass(frozen=True, slots=True)
class Sold:
    """One shown offer, as its events need to know it."""

    decision_id: str
    impression_id: str
    offer_id: str
    campaign_id: str
    advertiser: str
    position: int
    bid_kind: str
    price_micros: int
    day: int
    shopper_key: str
    issued_ms: int
    test: bool
    asked_by: str = ""
    """Name of the key that asked for the page; empty without one."""
    pending_micros: int = 0
    """What a click is expected to charge by its conversions, where those are billed; else 0."""

    @property
    def billed_on(self) -> str:
        """The event type that charges."""
        return BidKind(self.bid_kind).billed_on


_in_order = attrgetter(*(f.name for f in fields(Sold)))


class TokenError(InvalidRequest):
    """A token that cannot be used; `kind` says whether it never was one or is one no more."""

    def __init__(self, kind: Literal["unknown", "expired"], expected: str, got: object) -> None:
        super().__init__("token", expected, got)
        self.kind = kind


class Tokens:
    """Writes and reads one market's tokens. The first secret signs, all of them verify, so secrets can be rotated."""

    def __init__(self, secrets: tuple[str, ...], market: str) -> None:
        keys = [base64.urlsafe_b64encode(hashlib.sha256(f"offerrank token\0{market}\0{s}".encode()).digest()) for s in secrets]
        self._fernet = MultiFernet([Fernet(key) for key in keys])
        self._signer = Fernet(keys[0])

    def write(self, sold: Sold) -> str:
        """A URL-safe token, different on every call."""
        return self._signer.encrypt_at_time(orjson.dumps(_in_order(sold)), sold.issued_ms // 1000).decode().rstrip("=")

    def read(self, token: str) -> Sold:
        """What a token says.

        Raises:
          TokenError: of kind `unknown`: not byte for byte what `write` gave, or of another market or secret.
        """
        if len(token) > MAX_TOKEN:
            raise TokenError("unknown", f"at most {MAX_TOKEN} characters", f"{len(token)} characters")
        try:
            values = orjson.loads(self._fernet.decrypt(_canonical(token)))
        except (InvalidToken, ValueError):  # ValueError: not base64, or not JSON
            raise TokenError("unknown", "a token from a decision of this market", token) from None
        if not isinstance(values, list) or len(values) != len(fields(Sold)):
            raise TokenError("unknown", "a token of this version", token)
        return Sold(*values)


def _canonical(token: str) -> bytes:
    """The token with its padding.

    Fernet's decoder skips what is not base64 and what follows the padding, so that one token had many spellings, and some of
    them ended up in landing URLs.

    Raises:
      ValueError: it is not the one text that stands for its bytes.
    """
    given = token.encode("ascii")
    padded = base64.urlsafe_b64encode(base64.urlsafe_b64decode(given + b"=" * (-len(given) % 4)))
    if padded.rstrip(b"=") != given:
        raise ValueError("not canonical base64")
    return padded
