"""Who may look at the page, and who may act on it.

On a loopback address everybody on this machine may, as long as the browser asks this machine by a name of its own: a page of
another site that points its name here gets nothing. Anywhere else an operator's key opens a session, or a proxy in front says in
a header who asks. Whatever changes something has to come from the page itself.
"""

import logging
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from domain.addresses import is_loopback
from domain.clock import now_ms
from domain.errors import OfferRankError
from monitoring.dashboard.settings import DashboardSettings
from store.key_records import Role
from store.keyring import KeyFile

log = logging.getLogger("offerrank.dashboard")
COOKIE = "offerrank_page"
SESSION_MS = 12 * 3_600_000
MOST_SESSIONS = 1_000
LONGEST_KEY = 200


class Refused(OfferRankError):
    """A request that may not be answered: 401 for want of a log-in, 403 whoever asks."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks."""

    name: str
    sees_shoppers: bool
    """A proxy says who somebody is, and not that shopper keys are for their eyes."""
    has_session: bool = False


@dataclass(frozen=True, slots=True)
class _Session:
    key: str
    ends_ms: int


class Access:
    """Decides by the settings. Sessions live in this process: a restart ends them."""

    def __init__(self, settings: DashboardSettings) -> None:
        self._is_local = is_loopback(settings.host)
        self._header = settings.user_header
        self._path: Path | None = settings.keys
        self._keys = KeyFile(settings.keys) if settings.keys and not self._is_local and not self._header else None
        if self.by_key and self._keys is None:
            log.warning("nobody can look at the page: it is reachable from elsewhere, and OFFERRANK_KEYS names no keys file")
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    @property
    def by_key(self) -> bool:
        """Whether one logs in with a key."""
        return not self._is_local and not self._header

    def visitor(self, request: Request) -> Visitor:
        """Who asks.

        Raises:
          Refused: nobody who may.
        """
        if self._header:
            name = request.headers.get(self._header, "").strip()
            if not name:
                raise Refused(403, f"the proxy in front of this page says nobody's name in {self._header}")
            return Visitor(name[:64], sees_shoppers=False)
        if self._is_local:
            host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
            if not is_loopback(host):
                raise Refused(403, f"this page is for this machine, not for {host!r}: docs/dashboard.md says how to open it")
            return Visitor("this machine", sees_shoppers=True)
        session = self._sessions.get(request.cookies.get(COOKIE, ""))
        if session is None or session.ends_ms < now_ms():
            raise Refused(401, "log in with an operator's key")
        return Visitor(self._operator(session.key), sees_shoppers=True, has_session=True)

    def log_in(self, key: str) -> str:
        """A new session's token.

        Raises:
          Refused: the key is no operator's.
        """
        self._operator(key)
        token = secrets.token_urlsafe(32)
        self._sessions[token] = _Session(key, now_ms() + SESSION_MS)
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return token

    def log_out(self, request: Request) -> None:
        """Ends the session that a request belongs to."""
        self._sessions.pop(request.cookies.get(COOKIE, ""), None)

    def _operator(self, key: str) -> str:
        """Name of an operator's key, as the file has it now: one that was revoked since ends its sessions."""
        if self._keys is None:
            raise Refused(401, "nobody can log in: OFFERRANK_KEYS names no keys file")
        self._keys.refresh()
        known = self._keys.ring.find(key, now_ms()) if len(key) <= LONGEST_KEY else None
        if known is None or not known.role.includes(Role.OPERATOR):
            raise Refused(401, "this is no operator's key")
        return known.name


def check_same_origin(request: Request) -> None:
    """Refuses a change that another site's page asks for.

    Raises:
      Refused: the browser says so, or says nothing.
    """
    origin, site = request.headers.get("origin", ""), request.headers.get("sec-fetch-site")
    if site not in (None, "same-origin") or urlsplit(origin).netloc != request.headers.get("host"):
        raise Refused(403, "only the page itself may ask for this")


def _visitor(request: Request) -> Visitor:
    access: Access = request.app.state.access
    return access.visitor(request)


def _actor(request: Request) -> Visitor:
    check_same_origin(request)
    return _visitor(request)


Looking = Annotated[Visitor, Depends(_visitor)]
"""Somebody who may look."""
Acting = Annotated[Visitor, Depends(_actor)]
"""Somebody who may change something, asked for by the page itself."""
