"""Cross-origin requests, for the origins that some publisher's key allows."""

from collections.abc import Callable

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Requests that no page sent cost nothing."""
        of_page = scope["type"] == "http" and any(name == b"origin" for name, _ in scope["headers"])
        if of_page and scope["path"].startswith("/v1/"):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)
