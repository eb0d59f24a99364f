"""What the page asks about decisions: those of the archive that are like what is looked for, and one with all it weighed."""

import re
import threading
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Query, Response

from domain.campaign import Campaign
from domain.errors import InvalidRequest
from features.market import Market
from monitoring.dashboard.access import Looking, Refused, Visitor
from monitoring.dashboard.answers import LATEST_MS, json_answer
from monitoring.dashboard.archive import Archive, Found, Wanted
from monitoring.dashboard.board import Board
from monitoring.dashboard.lineage import Lineage
from monitoring.dashboard.statistics import Json

SHOWN = 50
MOST_EVENTS = 200
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?")
_HIDDEN = ("shopper_key", "order_id")
_DECISION: Final[Json] = {
    **dict.fromkeys(("release", "policy_id", "asked_by", "shopper_key", "invalid"), ""),
    **{"explored": False, "degraded": [], "total_us": None, "slots": [], "candidates": None, "features": {}, "stage_us": {}},
}
_SLOT: Final[Json] = {
    **dict.fromkeys(("offer_id", "campaign_id", "bid_kind", "impression_id"), ""),
    **dict.fromkeys(("bid_micros", "price_micros", "hold_micros", "pacing_multiplier", "ecpm_micros", "propensity")),
    **{"position": 0, "probability": {}},
}
Text = Annotated[str, Query(max_length=256)]
Ms = Annotated[int | None, Query(ge=0, le=LATEST_MS)]


def archive_routes(market: Market, archive: Archive, board: Board, lock: threading.Lock, lineage: Lineage) -> APIRouter:
    """The routes below /api/archive, and /api/lineage."""
    router = APIRouter(prefix="/api")
    late_ms = 2000 * (market.training.click_window_s + market.training.conversion_window_s)

    @router.get("/archive/decisions")
    def search(
        who: Looking,
        id: Text = "",  # noqa: A002 (the parameter's name in the address)
        shopper: Text = "",
        offer: Text = "",
        campaign: Text = "",
        since: Text = "",
        until: Text = "",
        before_ms: Ms = None,
    ) -> Response:
        """Newest first; times are UTC, as `2026-11-26T14:05`. `before_ms` goes on further back."""
        if shopper and not who.sees_shoppers:
            raise Refused(403, "shopper keys are not for everybody's eyes: log in with an operator's key to look for one")
        until_ms = min(_moment("until", until, LATEST_MS), LATEST_MS if before_ms is None else before_ms)
        offers = tuple(o.id for o in market.offers if o.campaign == campaign) if campaign else ()
        asked = (id.strip(), shopper.strip(), offer.strip(), campaign.strip())
        wanted = Wanted(*asked, offers_of_campaign=offers, since_ms=_moment("since", since, 0), until_ms=until_ms)
        found = archive.search(wanted, SHOWN)
        return json_answer(
            _told(found) | {"decisions": [_brief(row, who) for row in found.rows], "sees_shoppers": who.sees_shoppers}
        )

    @router.get("/archive/decisions/{decision_id}")
    def one(decision_id: str, who: Looking, at_ms: Ms = None) -> Response:
        """As it was logged, with what was reported since; the newest ones are not archived yet."""
        made, found = archive.decision(decision_id, at_ms)
        archived = made is not None
        with lock:
            recent = list(board.recent)
        made = made or next((m for m in map(orjson.loads, recent) if m["decision_id"] == decision_id), None)
        if made is None:
            return json_answer(_told(found) | {"known": False})
        made = _complete(made)
        at = made["time_ms"]
        events = archive.events(made["decision_id"], at - 3_600_000, at + late_ms, MOST_EVENTS)
        told = _told(found) | {"known": True, "archived": archived, "decision": _seen_by(made, who)}
        bids = {c.id: {"bid_micros": c.bid_micros, "bid_kind": c.bid_kind.value} for c in _campaigns_of(market, made)}
        return json_answer(told | {"events": [_seen_by(e, who) for e in events.rows], "bids": bids, "events_told": _told(events)})

    @router.get("/lineage/{what}")
    def asked(what: str, _: Looking) -> Response:
        """What `offerrank lineage` says of a release or decision."""
        return json_answer(lineage.of(what))

    return router


def _told(found: Found) -> Json:
    said = asdict(found)
    del said["rows"]
    return said


def _brief(row: Json, who: Visitor) -> Json:
    made = _complete(row)
    return _seen_by(made | {"slots": [{"offer_id": s["offer_id"], "campaign_id": s["campaign_id"]} for s in made["slots"]]}, who)


def _complete(row: Json) -> Json:
    """With what parts of before, or of another market, do not say of a decision."""
    made = _DECISION | {name: value for name, value in row.items() if value is not None}
    candidates = made["candidates"]
    if isinstance(candidates, dict):
        said = {name: value for name, value in candidates.items() if value is not None}
        made["candidates"] = {"offer_id": [], "source": [], "ecpm_micros": [], "reason": [], "probability": {}} | said
    return made | {"slots": [_SLOT | {n: v for n, v in slot.items() if v is not None} for slot in made["slots"]]}


def _seen_by(row: Json, who: Visitor) -> Json:
    return row if who.sees_shoppers else row | {name: "hidden" for name in _HIDDEN if row.get(name)}


def _campaigns_of(market: Market, made: Json) -> list[Campaign]:
    """Of its candidates, as they bid today: the log has the bids of what was sold alone."""
    wanted = {*made["candidates"]["offer_id"]} if made["candidates"] else set()
    names = {o.campaign for o in market.offers if o.id in wanted}
    return [market.campaign_by_id[name] for name in sorted(names) if name in market.campaign_by_id]


def _moment(name: str, text: str, default: int) -> int:
    """Milliseconds of a time without zone, in UTC.

    Raises:
      InvalidRequest: it is none.
    """
    if not text:
        return default
    try:
        if not _TIME.fullmatch(text):
            raise ValueError
        return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        raise InvalidRequest(name, "a UTC time such as 2026-11-26T14:05", repr(text)) from None
