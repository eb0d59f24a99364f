"""The campaign API over a database of its own, called through its real HTTP routes."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from known_catalogue import AT_MS, MARKET, Shelf

from features.market import Market
from serving.campaigns.app import create_app
from serving.campaigns.desk import Desk
from store.key_records import Role, changing, record_of
from store.keyring import KeyFile

KEYS: dict[str, tuple[Role, tuple[str, ...]]] = {
    "ann": (Role.OPERATOR, ()),
    "bob": (Role.OPERATOR, ()),
    "eve": (Role.VIEWER, ()),
    "max": (Role.MANAGER, ("alpha",)),
    "shop": (Role.SERVER, ()),
}


@dataclass
class Office:
    """Whoever has a key of KEYS asks."""

    shelf: Shelf
    keys: KeyFile
    market: Market = MARKET
    now_ms: int = AT_MS

    def call(self, method: str, path: str, by: str | None = "ann", **request: Any) -> httpx.Response:
        """One request, with a key unless there is to be none."""
        with_key = {"authorization": f"Bearer {by}-key"} if by else {}
        request["headers"] = with_key | (request.get("headers") or {})

        async def send() -> httpx.Response:
            app = create_app(Desk(self.shelf.database, self.market, lambda: self.now_ms), self.keys)
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://campaigns") as client:
                return await client.request(method, path, **request)

        return asyncio.run(send())

    def get(self, path: str, by: str = "ann", **params: Any) -> dict[str, Any]:
        """What is answered with 200."""
        response = self.call("GET", path, by, params=params)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def patch(self, path: str, value: object, version: object = "*", by: str = "ann", **more: Any) -> httpx.Response:
        """A merge patch of the version that was seen."""
        return self.call("PATCH", path, by, json=value, headers={"if-match": str(version)} | more)


def said(response: httpx.Response) -> tuple[int, str]:
    """Status, and the field that is wrong."""
    return response.status_code, str(response.json()["error"]["field"])


def opened(url: str, keys: Path) -> Office:
    """Over a database, with the keys of KEYS in a file."""
    with changing(keys) as records:
        for name, (role, advertisers) in KEYS.items():
            records.append(record_of(f"{name}-key", name, role, datetime(2026, 11, 1, tzinfo=UTC), advertisers=advertisers))
    return Office(Shelf(url), KeyFile(keys))
