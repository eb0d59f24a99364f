"""A typed client of the campaign API: the records are those that the API itself is made of.

    with CampaignClient("http://127.0.0.1:8084", key) as api:
        spring = api.campaigns.create(Campaign(id="spring", advertiser="acme", bid_kind="cpc", bid_micros=400_000))
        api.campaigns.patch("spring", {"bid_micros": 450_000}, version=spring.version)
        for held in api.campaigns.list(status="paused"):
            print(held.record.id, held.changed_by)

A change is sent again where its answer was lost, and is one change all the same: each call has an idempotency key of its own.
"""

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from domain.campaign import Advertiser, Campaign, Offer
from domain.errors import OfferRankError

Record = TypeVar("Record", Advertiser, Campaign, Offer)
Json = dict[str, Any]
ATTEMPTS = 3
LONGEST_WAIT_S = 5.0


class ApiError(OfferRankError):
    """The API refused, or did not answer: `status` 0. `errors` are all things wrong, each with `error` and in a bulk `index`."""

    def __init__(self, status: int, field: str, message: str, got: object = None, errors: Sequence[Json] = ()) -> None:
        self.status, self.field, self.message, self.got, self.errors = status, field, message, got, tuple(errors)
        super().__init__(f"{field}: {message}" + ("" if got is None else f", got {got!r}"))


@dataclass(frozen=True, slots=True)
class Held(Generic[Record]):
    """A record as the catalogue holds it."""

    record: Record
    version: int
    """To be given with a change of it; 0 of an advertiser without a record."""
    state: str | None
    """Of a campaign: draft, scheduled, live, paused, ended."""
    children: int | None
    """How many campaigns or offers belong to it; None of an offer."""
    changed_at: datetime | None
    changed_by: str | None


@dataclass(frozen=True, slots=True)
class Made:
    """A change of several entries."""

    version: int
    entries: int


class Table(Generic[Record]):
    """One kind of record."""

    def __init__(self, client: "CampaignClient", name: str, kind: str, record: type[Record]) -> None:
        self._client, self._name, self._kind = client, name, kind
        self._record: type[Record] = record

    def list(self, *, at_version: int | None = None, page: int = 500, **filters: str | None) -> Iterator[Held[Record]]:
        """All that fit the filters, in the order of ids, page by page."""
        wanted: dict[str, Any] = {k: v for k, v in filters.items() if v is not None} | {"limit": page}
        wanted |= {} if at_version is None else {"at_version": at_version}
        while True:
            answered = self._client.ask("GET", f"/v1/{self._name}", wanted)
            yield from map(self.held, answered["items"])
            if answered["next"] is None:
                return
            wanted["cursor"] = answered["next"]

    def get(self, entry_id: str, at_version: int | None = None) -> Held[Record]:
        """One; raises ApiError 404."""
        params = {} if at_version is None else {"at_version": at_version}
        return self.held(self._client.ask("GET", self.path(entry_id), params))

    def create(self, record: Record | Mapping[str, Any], *, why: str = "") -> Held[Record]:
        """A new one, or JSON of one; raises ApiError 409 where there is one of this id."""
        value = _plain(record) if isinstance(record, BaseModel) else record
        return self.held(self._client.change("POST", f"/v1/{self._name}", value, None, why))

    def put(self, record: Record, version: int | None, *, why: str = "") -> Held[Record]:
        """Replaces it; raises ApiError 412 unless it is at `version`, None being any."""
        return self.held(self._client.change("PUT", self.path(record.id), _plain(record), version, why))

    def patch(self, entry_id: str, changes: Mapping[str, Any], version: int | None, *, why: str = "") -> Held[Record]:
        """Changes some fields, None to the default; raises as `put`."""
        return self.held(self._client.change("PATCH", self.path(entry_id), changes, version, why))

    def delete(self, entry_id: str, version: int | None, *, whole: bool = False, why: str = "") -> Made:
        """Takes it out, with all that belongs to it if `whole`; raises as `put`."""
        path = self.path(entry_id) + ("?whole=true" if whole else "")
        return Made(**self._client.change("DELETE", path, None, version, why))

    def path(self, entry_id: str) -> str:
        """Of one of them."""
        return f"/v1/{self._name}/{quote(entry_id, safe='')}"

    def held(self, shown: Json) -> Held[Record]:
        """What the API shows of one."""
        # Fields that a newer API has and this client does not know are passed over.
        known = {name: value for name, value in shown[self._kind].items() if name in self._record.model_fields}
        changed, children = shown.get("changed"), shown.get("offers", shown.get("campaigns"))
        at = datetime.fromisoformat(changed["at"]) if changed else None
        record = self._record.model_validate(known)
        return Held(record, shown["version"], shown.get("state"), children, at, changed["by"] if changed else None)


class CampaignClient:
    """Speaks to one API. Every method raises ApiError.

    Args:
      key: a viewer's, manager's or operator's.
      timeout_s: of one attempt.
    """

    def __init__(self, url: str, key: str, timeout_s: float = 10.0, transport: httpx.BaseTransport | None = None) -> None:
        headers = {"authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s, transport=transport)
        self.advertisers = Table(self, "advertisers", "advertiser", Advertiser)
        self.campaigns = Table(self, "campaigns", "campaign", Campaign)
        self.offers = Table(self, "offers", "offer", Offer)

    def __enter__(self) -> "CampaignClient":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def pause(self, campaign: str, *, why: str = "") -> Held[Campaign]:
        """Shows a campaign nowhere, within two seconds, whoever else changes it."""
        return self.campaigns.held(self.change("POST", f"{self.campaigns.path(campaign)}/pause", None, None, why))

    def resume(self, campaign: str, *, why: str = "") -> Held[Campaign]:
        """Shows a paused campaign again."""
        return self.campaigns.held(self.change("POST", f"{self.campaigns.path(campaign)}/resume", None, None, why))

    def pause_all(self, advertiser: str | None = None, *, why: str = "") -> Made:
        """Pauses all live campaigns, of an advertiser or of the market."""
        return Made(**self.change("POST", f"{self._all(advertiser)}/pause", None, None, why))

    def resume_all(self, paused_by: int, advertiser: str | None = None, *, why: str = "") -> Made:
        """Resumes those that a version paused and that are still paused."""
        return Made(**self.change("POST", f"{self._all(advertiser)}/resume?version={paused_by}", None, None, why))

    def bulk(self, edits: Sequence[Mapping[str, Any]], *, why: str = "") -> Made:
        """Up to 10,000 edits, all or nothing; all that is wrong is in the error's `errors`."""
        return Made(**self.change("POST", "/v1/bulk", {"edits": list(edits)}, None, why))

    def changes(self, campaign: str | None = None, limit: int = 50, before: int | None = None) -> Sequence[Json]:
        """Who changed what, newest first; of one campaign, or of all."""
        path = "/v1/changes" if campaign is None else f"{self.campaigns.path(campaign)}/changes"
        answered = self.ask("GET", path, {"limit": limit} | ({} if before is None else {"before": before}))
        return list(answered["items"])

    def change_of(self, version: int) -> Json:
        """One version, with all that it changed."""
        return self.ask("GET", f"/v1/changes/{version}", {})

    def take_over(self, *, why: str = "") -> Made:
        """What market.toml lists becomes the catalogue's first version; raises ApiError 409 where there is one."""
        return Made(**self.change("POST", "/v1/import", None, None, why))

    def me(self) -> Json:
        """Whose key this is, of which market, in which currency."""
        return self.ask("GET", "/v1/me", {})

    def ask(self, method: str, path: str, params: Mapping[str, Any]) -> Json:
        """One request that changes nothing."""
        return self._answered(method, path, {"params": dict(params)} if params else {})

    def change(
        self, method: str, path: str, value: object, version: int | None, why: str, request_key: str | None = None
    ) -> Json:
        """One request for a change; of those with one `request_key` only the first changes anything."""
        headers = {"idempotency-key": request_key or uuid.uuid4().hex}
        if method in ("PUT", "PATCH", "DELETE"):
            headers["if-match"] = "*" if version is None else f'"{version}"'
        if why:
            path += f"{'&' if '?' in path else '?'}why={quote(why, safe='')}"
        return self._answered(method, path, {"headers": headers} | ({} if value is None else {"json": value}))

    def _all(self, advertiser: str | None) -> str:
        return "/v1" if advertiser is None else self.advertisers.path(advertiser)

    def _answered(self, method: str, path: str, given: Mapping[str, Any]) -> Json:
        for attempt in range(ATTEMPTS):
            last = attempt == ATTEMPTS - 1
            try:
                response = self._http.request(method, path, **given)
            except httpx.TransportError as e:
                if last:
                    raise ApiError(0, str(self._http.base_url), f"does not answer: {str(e) or type(e).__name__}") from None
                time.sleep(0.2 * 2**attempt)
                continue
            if response.status_code != 503 or last:
                break
            time.sleep(min(float(response.headers.get("retry-after", 1)), LONGEST_WAIT_S))
        return _content(response)


def _content(response: httpx.Response) -> Json:
    try:
        content: Json = response.json()
        error = content.get("error")
    except (ValueError, AttributeError):
        raise ApiError(response.status_code, str(response.url), "is no campaign API") from None
    if response.is_success:
        return content
    if not isinstance(error, dict):
        raise ApiError(response.status_code, str(response.url), "is no campaign API")
    raise ApiError(response.status_code, error["field"], error["message"], error.get("got"), content.get("errors", ()))


def _plain(record: BaseModel) -> Json:
    return record.model_dump(mode="json", exclude_defaults=True)
