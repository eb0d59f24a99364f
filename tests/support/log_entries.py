"""A small market, and entries of its two streams made from the dataclasses that the gateway logs."""

from collections.abc import Mapping
from dataclasses import replace

from domain.events import CandidateLog, Decision, EventStatus, EventType, Slot
from domain.outcome import Reason
from features.log_entry import DEFLATED, deflated

MARKET_TOML = """
name = "corner"
currency = "EUR"
[[placements]]
name = "main"
count = 2
[[features]]
name = "country"
source = "shopper"
default = "unknown"
[[features]]
name = "amount"
source = "context"
dtype = "float"
default = 1.5
[[features]]
name = "past_clicks"
source = "history"
counter = "click"
[[features]]
name = "brand"
source = "offer"
default = "house"
[[tasks]]
name = "ctr"
label = "click"
[[tasks]]
name = "cvr"
label = "conversion"
given = "click"
[policy]
id = "p1"
priors = { ctr = 0.02, cvr = 0.1 }
[training]
click_window_s = 100
conversion_window_s = 1000
[[campaigns]]
id = "tea"
advertiser = "leaf"
bid_kind = "cpc"
bid_micros = 500_000
daily_budget_micros = 100_000_000
[[campaigns]]
id = "wine"
advertiser = "cellar"
bid_kind = "cpa"
bid_micros = 4_000_000
daily_budget_micros = 50_000_000
[[campaigns]]
id = "own"
advertiser = "shop"
bid_kind = "cpm"
bid_micros = 1_000
[[offers]]
id = "green"
campaign = "tea"
title = "Green tea"
landing_url = "https://leaf.example/"
features = { brand = "leaf" }
[[offers]]
id = "red"
campaign = "wine"
title = "Red wine"
landing_url = "https://cellar.example/"
features = { brand = "cellar" }
[[offers]]
id = "card"
campaign = "own"
title = "Loyalty card"
landing_url = "https://shop.example/"
"""

_CAMPAIGN = {"green": ("tea", "leaf", "cpc"), "red": ("wine", "cellar", "cpa"), "card": ("own", "shop", "cpm")}


def slot(impression_id: str, offer: str = "green", position: int = 0, price_micros: int = 250_000, **changes: object) -> Slot:
    """A shown offer; pctr 0.04."""
    campaign, advertiser, kind = _CAMPAIGN[offer]
    made = Slot(
        position=position,
        placement="main",
        impression_id=impression_id,
        offer_id=offer,
        campaign_id=campaign,
        advertiser=advertiser,
        bid_kind=kind,
        bid_micros=500_000,
        price_micros=price_micros,
        hold_micros=price_micros,
        pacing_multiplier=0.75,
        probability={"ctr": 0.04, "cvr": 0.2},
        ecpm_micros=15_000_000.0,
        propensity=0.9,
        features={"brand": advertiser},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def decision(decision_id: str, time_ms: int, *slots: Slot, **changes: object) -> Decision:
    """An answered request: all three offers were candidates, the shown ones won, the others were outbid."""
    shown = {s.offer_id for s in slots}
    offers = list(_CAMPAIGN)
    made = Decision(
        decision_id=decision_id,
        time_ms=time_ms,
        day=time_ms // 86_400_000,
        policy_id="p1",
        release="cold-start",
        asked_by="shop",
        shopper_key=f"shopper-of-{decision_id}",
        features={"country": "DE", "amount": 59.9, "past_clicks": 2},
        slots=list(slots),
        candidates=CandidateLog(
            offer_id=offers,
            source=["ann", "popular", "new"],
            probability={"ctr": [0.04, 0.03, 0.02], "cvr": [0.2, 0.1, 0.05]},
            ecpm_micros=[15_000_000.0, 12_000_000.0, 1_000.0],
            reason=[int(Reason.WON if o in shown else Reason.OUTBID) for o in offers],
        ),
        explored=False,
        degraded=[],
        stage_us={"shopper": 900, "ranking": 2_600, "auction": 500},
        total_us=5_000,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def decision_fields(made: Decision) -> dict[bytes, bytes]:
    """The stream entry the gateway writes for a decision."""
    return {DEFLATED: deflated(made)}


def event_fields(
    kind: EventType | str, impression_id: str, decision_id: str, at_ms: int, offer: str = "green", **changes: object
) -> dict[bytes, bytes]:
    """The stream entry the settle script writes for an event; by default nothing is charged."""
    campaign, advertiser, _ = _CAMPAIGN[offer]
    made: Mapping[str, object] = {
        "status": EventStatus.LOGGED.value,
        "charged_micros": 0,
        "event_id": f"{kind}-of-{impression_id}",
        "type": str(kind),
        "impression_id": impression_id,
        "decision_id": decision_id,
        "offer_id": offer,
        "campaign_id": campaign,
        "advertiser": advertiser,
        "position": 0,
        "day": at_ms // 86_400_000,
        "value_micros": "",
        "time_ms": at_ms,
        "price_micros": 0,
        "reason": "",
        "order_id": "",
        "shopper_key": f"shopper-of-{decision_id}",
        "asked_by": "",
        "client": "",
    }
    return {name.encode(): str(value).encode() for name, value in {**made, **changes}.items()}
