"""The gateway's HTTP API as a confirmation page calls it."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import aiohttp
import orjson

from simulation.shoppers import Purchase

CALL_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 64
EVENT_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Shown:
    """One offer of an answer, with the slot of the page it is in."""

    slot: int
    offer_id: str
    token: str
    impression_url: str
    click_url: str
    price_micros: int
    bid_kind: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision as the page got it."""

    release: str
    degraded: tuple[str, ...]
    shown: tuple[Shown, ...]
    raw: dict[str, Any]


class GatewayClient:
    """Calls one gateway with a server's key; a failed call returns None or 0 and is counted in `failures`, by call and cause."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._key = key
        self.failures: Counter[str] = Counter()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "GatewayClient":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S),
            headers={"content-type": "application/json"} | ({"authorization": f"Bearer {self._key}"} if self._key else {}),
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._session:
            await self._session.close()

    async def decide(self, request: dict[str, Any]) -> Answer | None:
        """POST /v1/decisions."""
        answer = await self._call("decision", "POST", f"{self.url}/v1/decisions", request)
        if answer is None:
            return None
        raw = orjson.loads(answer)
        shown = tuple(
            Shown(
                slot=offer["position"],
                offer_id=offer["offer_id"],
                token=offer["token"],
                impression_url=offer["impression_url"],
                click_url=offer["click_url"],
                price_micros=offer["pricing"]["price_micros"],
                bid_kind=offer["pricing"]["bid_kind"],
            )
            for placement in raw["placements"]
            for offer in placement["offers"]
        )
        return Answer(raw["release"], tuple(raw["degraded"]), shown, raw)

    async def impression(self, shown: Shown) -> bool:
        """Loads the impression URL."""
        return await self._call("impression", "GET", shown.impression_url) is not None

    async def click(self, shown: Shown) -> bool:
        """Follows the click URL, though not on to the advertiser."""
        return await self._call("click", "GET", shown.click_url) is not None

    async def convert(self, shown: Shown, value_micros: int) -> int | None:
        """Reports a conversion; returns the micros charged."""
        event = {"type": "conversion", "token": shown.token, "value_micros": value_micros}
        answer = await self._call("conversion", "POST", f"{self.url}/v1/events", {"events": [event]})
        if answer is None:
            return None
        results = orjson.loads(answer)["results"]
        if not results:
            self.failures["conversion refused"] += 1
            return None
        return int(results[0]["charged_micros"])

    async def dismiss(self, shown: list[Shown]) -> bool:
        """Reports that the offers have left the screen."""
        event = {"type": "dismiss", "tokens": [s.token for s in shown]}
        return await self._call("dismiss", "POST", f"{self.url}/v1/events", {"events": [event]}) is not None

    async def _call(self, name: str, method: str, url: str, body: dict[str, Any] | None = None) -> bytes | None:
        """The answer's body. An event that is answered 503, "try again", is sent again: it counts once however often it comes."""
        for attempt in range(1, (EVENT_ATTEMPTS if name in ("conversion", "dismiss") else 1) + 1):
            status, answer = await self._send(method, url, body)
            if status.isdecimal() and int(status) < 400:
                return answer
            if status != "503" or attempt == EVENT_ATTEMPTS:
                break
            await asyncio.sleep(attempt)
        self.failures[f"{name} {status}"] += 1
        return None

    async def _send(self, method: str, url: str, body: dict[str, Any] | None) -> tuple[str, bytes]:
        """Status, or the name of what went wrong, and the answer's body."""
        assert self._session is not None, "use `async with`"
        content = orjson.dumps(body) if body is not None else None
        try:
            async with self._session.request(method, url, data=content, allow_redirects=False) as response:
                return str(response.status), await response.read()
        except TimeoutError:
            return "timeout", b""
        except aiohttp.ClientError as e:
            return type(e).__name__, b""


def decision_request(purchase: Purchase, placements: list[dict[str, Any]]) -> dict[str, Any]:
    """A purchase as the body of POST /v1/decisions."""
    return {
        "shopper": {"key": purchase.shopper_key, "attributes": purchase.shopper},
        "context": purchase.context,
        "placements": placements,
        "include_pricing": True,
    }
