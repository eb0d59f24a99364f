"""Counts what the gateway answers."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitoring import metrics


class CountResponses:
    """Counts answers by route and status."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes everything on as it is."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The router has left the route in the scope; its path is one of a few, where the URL could be anything.
                metrics.RESPONSES.labels(getattr(scope.get("route"), "path", "other"), message["status"]).inc()
            await send(message)

        await self._app(scope, receive, counting)
