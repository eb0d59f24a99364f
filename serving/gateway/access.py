"""Who may ask what, from where, and how often."""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request

from monitoring import metrics
from serving.gateway.limits import RateLimit
from serving.gateway.traffic.client import origin_of
from serving.gateway.wire import HttpError
from store.key_records import Role
from store.keyring import LOCAL_ORIGINS, Key, Keyring

SAID_PER_SECOND = 0.1
"""Lines in the log per second, for one reason and key."""
KEYLESS = Key("", Role.PUBLISHER, frozenset(LOCAL_ORIGINS), None, math.inf)
"""Who asks without a key where none is needed."""
HOW = "expected a key: `Authorization: Bearer KEY`, `x-offerrank-key: KEY`, or a publisher's as `?key=KEY`"

log = logging.getLogger(__name__)


class Access:
    """What a gateway lets in.

    Args:
      keys: the keys of this moment; None where no keys file is given, then whoever is on this machine may do what a
        publisher may.
      address_per_second: how often one address may ask; None is without limit.
      operator_port: where /metrics and /docs need no key, since only operators reach it.
    """

    def __init__(
        self,
        keys: Callable[[], Keyring] | None,
        clock: Callable[[], int],
        address_per_second: float | None = None,
        operator_port: int | None = None,
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._address_per_second = address_per_second
        self._operator_port = operator_port
        self._by_key, self._by_address, self._said = RateLimit(), RateLimit(), RateLimit(1000)

    def admit(self, request: Request, route: str) -> Key:
        """Whoever asks, if it may ask at all now.

        Raises:
          HttpError: 401 without a key that is known, 403 from an origin that is not the key's, 429 too often.
        """
        key = self._key(request)
        if not key.role.includes(Role.PUBLISHER):
            raise self._refused(403, "key", f"a {key.role}'s key is for the campaign API", None, key)
        origin = request.headers.get("origin")
        if origin is not None and not key.allows_origin(origin):
            raise self._refused(403, "origin", "a page of this origin may not send this key", origin, key)
        if origin is None and key.role is Role.PUBLISHER and key.origins and key is not KEYLESS:
            raise self._refused(403, "origin", "this key is for pages: expected the header `Origin`", None, key)
        self._hold_to_rate(request, route, key)
        return key

    def require(self, key: Key, role: Role, field: str, what: str) -> None:
        """Raises HttpError 403 unless the key's role includes `role`."""
        if not key.role.includes(role):
            raise self._refused(403, field, f"{what} needs {'an' if role is Role.OPERATOR else 'a'} {role}'s key", None, key)

    def admit_operator(self, request: Request) -> None:
        """Lets operators through: who reaches their port, who has their key, or who is on this machine where no keys are used.

        Raises:
          HttpError: 404 for those without a key, who need not know; 401 or 403 for those with another.
        """
        if self._operator_port is not None and (request.scope.get("server") or ("", 0))[1] == self._operator_port:
            return
        if self._given(request)[0]:
            self.require(self._key(request), Role.OPERATOR, "key", request.url.path)
        elif self._keys is not None or not origin_of(address(request)).is_local:
            raise HttpError(404, "url", "Not Found", f"{request.method} {request.url.path}")

    def allows_origin(self, origin: str) -> bool:
        """Whether pages of this origin may read answers."""
        return KEYLESS.allows_origin(origin) if self._keys is None else self._keys().allows_origin(origin)

    def _key(self, request: Request) -> Key:
        text, in_url = self._given(request)
        if not text and self._keys is None and origin_of(address(request)).is_local:
            return KEYLESS
        key = self._keys().find(text, self._clock()) if text and self._keys is not None else None
        if key is None:
            message = "this key is unknown, or is one no more" if text else HOW
            raise self._refused(401, "key", message, None, None, {"www-authenticate": "Bearer"})
        if in_url and key.role is not Role.PUBLISHER:
            raise self._refused(403, "key", f"a {key.role}'s key goes into a header: URLs are kept in logs", None, key)
        return key

    @staticmethod
    def _given(request: Request) -> tuple[str, bool]:
        """The key as given, or nothing; and whether it was in the URL, the only place a beacon has for it."""
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return credentials.strip(), False
        if given := request.headers.get("x-offerrank-key"):
            return given, False
        return (request.query_params.get("key", ""), True) if request.scope["query_string"] else ("", False)

    def _hold_to_rate(self, request: Request, route: str, key: Key) -> None:
        """Addresses before keys, so that one address cannot use up what a key has. Asking does not use up reporting."""
        now_s = time.monotonic()
        if key.role is Role.PUBLISHER and self._address_per_second is not None:
            client = origin_of(address(request))
            if not client.is_local:
                wait_s = self._by_address.wait_s(f"{route} {client.network}", self._address_per_second, now_s)
                if wait_s:
                    raise self._too_often("address", "too many requests from this address", wait_s, key)
        if key.per_second is not None:
            wait_s = self._by_key.wait_s(f"{route} {key.name}", key.per_second, now_s)
            if wait_s:
                raise self._too_often("key", "too many requests with this key", wait_s, key)

    def _too_often(self, field: str, message: str, wait_s: float, key: Key) -> HttpError:
        return self._refused(429, field, message, None, key, {"retry-after": str(math.ceil(wait_s))})

    def _refused(
        self, status: int, field: str, message: str, got: Any, key: Key | None, headers: dict[str, str] | None = None
    ) -> HttpError:
        """A refusal, counted, and said with the key's name now and then."""
        what = {401: "key", 429: "rate"}.get(status, "origin" if field == "origin" else "role")
        metrics.REFUSED.labels(what).inc()
        name = "no key that is known" if key is None else f"key {key.name}" if key.name else "no key"
        if not self._said.wait_s(f"{status} {field} {name}", SAID_PER_SECOND, time.monotonic()):
            log.warning("refused with %d, %s: %s: %s", status, name, field, message)
        return HttpError(status, field, message, got, headers)


def address(request: Request) -> str:
    """The client's, as seen through trusted proxies; empty where the server does not know."""
    return request.client.host if request.client else ""
