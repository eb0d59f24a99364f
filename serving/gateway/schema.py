"""The API's bodies. Those of a market are built from its features, so that the OpenAPI document shows the real ones."""

import ipaddress
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    WithJsonSchema,
    create_model,
)
from typing_extensions import TypedDict  # pydantic takes typing.TypedDict from Python 3.12 on only

from domain.campaign import Image, Video
from domain.money import MAX_MICROS
from features.market import Market
from features.spec import INT64, MAX_STRING, MAX_WEIGHT, FeatureSpec
from serving.gateway.tokens import MAX_TOKEN

MAX_PLACEMENTS = 8
MAX_COUNT = 20
MAX_EVENTS = 100
MAX_BLOCKED = 200
"""Names in each of the lists of what must not be on a page."""
ID = r"^[A-Za-z0-9._-]{1,64}$"
SHOPPER_KEY = r"^[^\x00-\x1f\x7f-\x9f]{1,256}$"
"""Anything but control characters: keys are hashes in any encoding, addresses, names."""
MAX_SHOPPER_KEY = 256
"""Bytes of UTF-8: a token carries the key, and a token has to fit into a URL."""
ORDER_ID = r"^[^\x00-\x1f\x7f-\x9f]{1,128}$"
MAX_ORDER_ID = 128


def _whole(value: object) -> object:
    """JSON knows no integers: 3.0 is one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _short_enough(shopper_key: str) -> str:
    if len(shopper_key.encode()) > MAX_SHOPPER_KEY:
        raise ValueError(f"expected at most {MAX_SHOPPER_KEY} bytes of UTF-8")
    return shopper_key


ShopperKey = Annotated[str, Field(pattern=SHOPPER_KEY), AfterValidator(_short_enough)]
Micros = Annotated[int, Field(strict=True, ge=0, le=MAX_MICROS), BeforeValidator(_whole)]
Count = Annotated[int, Field(strict=True, ge=1, le=MAX_COUNT), BeforeValidator(_whole)]
Milliseconds = Annotated[int, Field(strict=True, ge=1, le=10_000), BeforeValidator(_whole)]
Flag = Annotated[bool, Field(strict=True)]


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("expected an IPv4 or IPv6 address") from None


_FORMATS: Any = {"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
Address = Annotated[str, Field(strict=True, json_schema_extra=_FORMATS), AfterValidator(_address)]
UserAgent = Annotated[str, Field(strict=True)]


Names = Annotated[tuple[Annotated[str, Field(strict=True, min_length=1, max_length=64)], ...], Field(max_length=MAX_BLOCKED)]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


# What comes in. Null is absent wherever absent is allowed.


class BlockedNames(_Body):
    """By name; the market and its placements may block more."""

    advertisers: Names | None = None
    categories: Names | None = None
    offers: Names | None = None


def decision_body(market: Market) -> type[BaseModel]:
    """The body of POST /v1/decisions for one market."""
    shopper = _body(
        "Shopper",
        key=(ShopperKey | None, _field(None, "Stands for the shopper; one is made when absent.")),
        attributes=(_attributes("ShopperAttributes", market, "shopper") | None, {}),
    )
    names = tuple(p.name for p in market.placements)
    placement: Any = _body(
        "PlacementRequest",
        name=(Literal[names], ...),
        count=(Count | None, _field(None, "Most offers; the market's if absent.")),
        floor_ecpm_micros=(Micros | None, _field(0, "Least an offer here sells for, per 1000 impressions.")),
    )
    example = {
        "shopper": {"key": "s-4711", "attributes": _example(market, "shopper")},
        "context": _example(market, "context"),
        "placements": [{"name": names[0], "count": market.placements[0].count}],
        "include_pricing": True,
    }
    body: type[BaseModel] = _body(
        "DecisionRequest",
        {"examples": [example]},
        id=(str | None, _field(None, "Makes the request safe to repeat: the same id gets the same answer.", pattern=ID)),
        shopper=(shopper | None, shopper()),
        context=(_attributes("ContextAttributes", market, "context") | None, {}),
        placements=(tuple[placement, ...], _field(..., "In page order.", min_length=1, max_length=MAX_PLACEMENTS)),
        tmax_ms=(Milliseconds | None, _field(None, "Most that the stages of the decision may wait, all together.")),
        blocked=(BlockedNames | None, _field(None, "What must not be on the page; names that nobody has block nobody.")),
        ip=(
            Address | None,
            _field(None, "The shopper's, from a server that asks for it: robots are told by it, it is not kept."),
        ),
        user_agent=(UserAgent | None, _field(None, "The shopper's browser, from a server that asks for it; the same.")),
        include_pricing=(Flag | None, _field(False, "Adds price and probabilities to each offer.")),
        explain=(Flag | None, _field(False, "Adds the fate of every candidate; for operators.")),
        test=(Flag | None, _field(False, "Never billed, never logged.")),
    )
    return body


def _body(model_name: str, json_schema_extra: dict[str, Any] | None = None, **fields: Any) -> Any:
    config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=json_schema_extra)
    return create_model(model_name, __config__=config, **fields)


def _field(default: Any, description: str, **constraints: Any) -> Any:
    return Field(default, description=description, **constraints)


def _attributes(name: str, market: Market, source: str) -> Any:
    """A closed dictionary of features: plain, because feature names may be those of a model's own attributes."""
    entries = {f.name: _typed(f) for f in market.request_features if f.source == source and f.derived is None}
    typed = cast(Any, TypedDict)(name, entries, total=False)
    typed.__pydantic_config__ = ConfigDict(extra="forbid")
    return typed


def _typed(feature: FeatureSpec) -> Any:
    schema: dict[str, Any] = {"examples": _examples(feature)}
    if feature.absent is not None:
        schema["default"] = feature.absent
    if feature.dtype == "string" and not feature.multiple:
        text = Field(strict=True, max_length=MAX_STRING, json_schema_extra=schema)
        silent = feature.missing_values
        return Annotated[str | None, text, AfterValidator(lambda value: None if value in silent else value)]
    one: dict[str, Any]
    if feature.dtype == "string":
        one = {"type": "string", "minLength": 1, "maxLength": MAX_STRING}
    elif feature.dtype == "int":
        one = {"type": "integer", "minimum": -INT64, "maximum": INT64}
    else:
        one = {"type": "number", "minimum": -3e38, "maximum": 3e38}
    if feature.weighted:
        weight = {"type": "number", "minimum": 0, "maximum": MAX_WEIGHT}
        one = {"type": "object", "propertyNames": one, "additionalProperties": weight, "maxProperties": feature.max_values}
    elif feature.multiple:
        one = {"type": "array", "items": one, "maxItems": feature.max_values}

    def coerce(value: object) -> object:
        return None if value is None or value in feature.missing_values else feature.coerce(value)

    return Annotated[Any, PlainValidator(coerce), WithJsonSchema(schema | {"anyOf": [one, {"type": "null"}]})]


def _examples(feature: FeatureSpec) -> list[Any]:
    known = feature.vocabulary if isinstance(feature.vocabulary, tuple) else ()
    values = list(feature.examples or known[:3] or (() if feature.default is None else (feature.default,)))
    if feature.multiple:
        values = values[: feature.max_values]
        return [dict.fromkeys(map(str, values), 1.0) if feature.weighted else values]
    return values


def _example(market: Market, source: str) -> dict[str, Any]:
    asked = (f for f in market.request_features if f.source == source and f.derived is None)
    return {f.name: _examples(f)[0] for f in asked if _examples(f)}


Token = Annotated[str, Field(strict=True, min_length=1, max_length=MAX_TOKEN)]


EventId = Annotated[str, Field(strict=True, pattern=ID)]
EventTime = Annotated[str, Field(strict=True, max_length=40, json_schema_extra={"format": "date-time"})]


class _Event(_Body):
    event_id: EventId | None = None
    """Yours, kept in the event log. What makes an event safe to repeat is its token and type, not this."""
    event_time: EventTime | None = None
    """RFC 3339 with time zone; now, if absent."""


class ShownEvent(_Event):
    """An offer was seen or clicked."""

    type: Literal["impression", "click"]
    token: Token
    ip: Address | None = None
    """The shopper's, from a server that reports for a browser: robots are told by it, it is not kept."""
    user_agent: UserAgent | None = None
    """The shopper's browser, from a server that reports for it; the same."""


def _order_short_enough(order_id: str) -> str:
    if len(order_id.encode()) > MAX_ORDER_ID:
        raise ValueError(f"expected at most {MAX_ORDER_ID} bytes of UTF-8")
    return order_id


OrderId = Annotated[str, Field(strict=True, pattern=ORDER_ID), AfterValidator(_order_short_enough)]


class ConversionEvent(_Event):
    """A clicked offer led to a sale."""

    type: Literal["conversion"]
    token: Token
    order_id: OrderId | None = None
    """The shop's number of the order: it counts once for all the shopper's offers; several orders of one click count each."""
    value_micros: Micros | None = None
    """What was bought for."""
    currency: Annotated[str, Field(strict=True, pattern=r"^[A-Z]{3}$")] | None = None
    """Of `value_micros`; must be the market's."""


class ReturnEvent(_Event):
    """What a conversion sold was sent back: its charge is given back."""

    type: Literal["return"]
    token: Token
    order_id: OrderId | None = None
    """As the conversion had it."""


class CorrectionEvent(_Event):
    """A conversion was worth something else after all, as where a part of it was sent back: no charge changes."""

    type: Literal["correction"]
    token: Token
    order_id: OrderId | None = None
    """As the conversion had it."""
    value_micros: Micros
    """All of it, not the difference; of several corrections the one that happened last counts."""
    currency: Annotated[str, Field(strict=True, pattern=r"^[A-Z]{3}$")] | None = None
    """Of `value_micros`; must be the market's."""


class DismissEvent(_Event):
    """The shopper left: what is reserved for offers not clicked is given back."""

    type: Literal["dismiss"]
    tokens: Annotated[tuple[Token, ...], Field(min_length=1, max_length=MAX_EVENTS)]
    """Of all offers that left the screen."""


AnyEvent = ShownEvent | ConversionEvent | ReturnEvent | CorrectionEvent | DismissEvent
EventBody = Annotated[AnyEvent, Field(discriminator="type")]
EVENT_BODY: TypeAdapter[AnyEvent] = TypeAdapter(EventBody)
EVENT_FIELDS = frozenset(f for m in get_args(AnyEvent) for f in m.model_fields)


class EventsBody(_Body):
    """Up to 100 events; each is accepted or refused by itself."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"events": [{"type": "conversion", "token": "gAAAAA...", "value_micros": 59_900_000}]}]}
    )

    events: Annotated[tuple[EventBody, ...], Field(min_length=1, max_length=MAX_EVENTS)]


# What goes out. Answers are written from dictionaries; a test holds them against these models.


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ReasonAnswer(_Answer):
    """Why an offer was shown or not; docs/api.md lists the codes."""

    code: int | None
    """OpenRTB 3.0 loss code, or 500 and up for ours; null when there was no candidate at all."""
    name: str


class Pricing(_Answer):
    """What the offer's advertiser pays at most, and why."""

    price_micros: int
    """Per billed event, already reserved in the campaign's budget."""
    bid_kind: Literal["cpm", "cpc", "cpa"]
    currency: str
    probability: dict[str, float]
    """Calibrated, by task."""
    ecpm_micros: float


class OfferAnswer(_Answer):
    """One offer to show."""

    position: int
    """On the page, over all placements, from 0."""
    impression_id: str
    offer_id: str
    campaign_id: str
    advertiser: str
    title: str
    body: str
    image: Image | None = None
    """Absent where the offer has none."""
    video: Video | None = None
    """Absent where the offer has none."""
    impression_url: str
    """Load it when the offer is seen."""
    click_url: str
    """Link to it; it leads on to the offer's landing page."""
    token: str
    """For POST /v1/events."""
    pricing: Pricing | None = None


class PlacementAnswer(_Answer):
    """One placement's offers, best first; with a reason when there are none."""

    name: str
    offers: list[OfferAnswer]
    reason: ReasonAnswer | None


class CandidateAnswer(_Answer):
    """What became of one candidate."""

    offer_id: str
    campaign_id: str
    advertiser: str
    source: str
    stage: Literal["eligibility", "hold", "auction", "page"]
    """How far it came."""
    reason: ReasonAnswer
    why: str
    """The reason in words."""
    raw: dict[str, float] | None
    """By task, as the model said; empty where the priors rank, null where it was removed before ranking."""
    probability: dict[str, float | None]
    """Calibrated, by task; null where it was removed before ranking."""
    bid_micros: int
    pacing_multiplier: float | None
    paced_bid_micros: int | None
    """Most it can be charged per billed event."""
    quality: float | None
    """P(billed event | impression), at the first position."""
    ecpm_micros: float | None
    position: int | None
    """Slot that it won."""
    price_micros: int | None
    """Per billed event, if it won."""
    bid_to_win_micros: int | None
    """Least bid of its campaign with which it is on the page by eCPM, all others as they are; null for winners, for those that
    budgets, caps or their targeting kept out, and where no bid would do."""


class Explanation(_Answer):
    """How the decision came about."""

    features: dict[str, str | int | float | list[str | int] | dict[str, float] | None]
    """Request features as used, history included; null is missing."""
    reserve_ecpm_micros: list[int]
    """By slot."""
    examination: list[float] | None = None
    """By slot, what it was taken to leave of the clicks at the first; absent where no release has told."""
    candidates: list[CandidateAnswer]
    stage_us: dict[str, int]
    """Microseconds per stage."""


class DifferenceAnswer(_Answer):
    """A value that was logged otherwise than it is made again."""

    decision_id: str
    field: str
    logged: Any
    recomputed: Any


class LoggedExplanation(Explanation):
    """The same of a decision that is past, made once more from the log."""

    decision_id: str
    time_ms: int
    policy_id: str
    release: str
    """Version of the release that ranked, or `cold-start`."""
    catalogue: int
    """Version of the catalogue; 0 for what the market file lists."""
    asked_by: str
    explored: bool
    """Drawn at random."""
    degraded: list[str]
    invalid: str
    slots: list[dict[str, Any]]
    """As logged."""
    differences: list[DifferenceAnswer]
    """Empty where all is as it was logged."""


class DecisionAnswer(_Answer):
    """The page."""

    decision_id: str
    shopper_key: str
    release: str
    """Version of the release that ranked, or `cold-start`."""
    policy: str
    test: bool
    degraded: list[str]
    """What answered with a fallback; empty when all is well."""
    placements: list[PlacementAnswer]
    explain: Explanation | None = None


class ErrorDetail(_Answer):
    """What is wrong with a request."""

    field: str
    message: str
    got: str | int | bool | None = None


class ErrorAnswer(_Answer):
    """Any answer other than 2xx."""

    error: ErrorDetail


class EventResult(_Answer):
    """What became of one event."""

    index: int
    status: str
    """logged, settled, late_settled, late_free, released, duplicate, or test."""
    charged_micros: int


class EventRefusal(_Answer):
    """Why one event was not accepted."""

    index: int
    error: ErrorDetail


class EventsAnswer(_Answer):
    """Results of accepted events and errors of refused ones, both by index."""

    results: list[EventResult]
    errors: list[EventRefusal]
