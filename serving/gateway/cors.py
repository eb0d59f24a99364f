"""Cross-origin requests, for the origins that some publisher's key allows."""

from collections.abc import Callable, Iterable

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

Header = tuple[bytes, bytes]


class PageOrigins(CORSMiddleware):
    """Answers preflights, and lets pages read answers. Whether a key may come from an origin is checked with the key."""

    def __init__(self, app: ASGIApp, allows_origin: Callable[[str], bool]) -> None:
        super().__init__(
            app,
            allow_methods=("GET", "POST"),
            allow_headers=("authorization", "content-type", "x-offerrank-key"),
            expose_headers=("retry-after",),
        )
        self._allows_origin = allows_origin

    def is_allowed_origin(self, origin: str) -> bool:
        """Asked anew each time, since keys change."""
        return self._allows_origin(origin)

    def headers_for(self, url: bytes, asked: Iterable[Header]) -> list[Header]:
        """What lets the page that sent a request with these headers read an answer that no application gives."""
        origin = next((value for name, value in asked if name == b"origin"), None)
        if origin is None or not url.startswith(b"/v1/"):
            return []
        headers = [(b"vary", b"Origin"), *((n.lower().encode(), v.encode()) for n, v in self.simple_headers.items())]
        if self.is_allowed_origin(origin.decode("latin-1")):
            headers.append((b"access-control-allow-origin", origin))
        return headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Requests that no page sent cost nothing."""
        of_page = scope["type"] == "http" and any(name == b"origin" for name, _ in scope["headers"])
        if of_page and scope["path"].startswith("/v1/"):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)
