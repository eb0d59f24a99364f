"""Reads market.toml, the one file that describes a market. docs/market.md lists every key."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import tomli  # tomllib, compiled: a catalogue of 100,000 offers in less than half the time
from pydantic import AfterValidator, Field, ValidationError, model_validator

from domain.campaign import Advertiser, Campaign, Category, FeatureValue, Offer
from domain.errors import InvalidMarket, shown
from domain.policy import Policy
from domain.refusals import MISSING, Location, first_refusal
from domain.request import Blocked, DecisionRequest
from features.derived import derive, numbers, written
from features.market_checks import check_references
from features.model_spec import ModelSpec, TaskSpec, ValueSpec
from features.monitoring_spec import FEW_VALUES, PLACEMENT, POSITION, MonitoringSpec
from features.slices import parts_of
from features.spec import CAMPAIGN, CLUSTER, EXPLORED, LOG_ROW, OFFER_ID, PROPENSITY, VALUE_MICROS, CrossSpec, FeatureSpec, Record
from features.training_spec import TrainingSpec


class Placement(Record):
    """A named place on the page."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")
    """Name by which a request asks for it."""
    count: int = Field(ge=1, le=20)
    """Offers shown there unless a request asks for fewer."""
    blocked_categories: tuple[Category, ...] = ()
    """Campaigns of these categories are on no page that has this placement."""
    blocked_advertisers: tuple[str, ...] = ()
    """Nor are those of these advertisers."""


class Market(Record):
    """A whole market: what is sold, to whom, how it is described, predicted and priced."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")
    """Names the market in Redis keys and logs."""
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    """ISO 4217 code that every amount is in."""
    missing_values: tuple[str, ...] = ()
    """Texts that say nothing, such as "NA" or "?", whatever the feature, unless it has a list of its own."""
    blocked_categories: tuple[Category, ...] = ()
    """Campaigns of these categories are shown nowhere."""
    blocked_advertisers: tuple[str, ...] = ()
    """Nor are those of these advertisers."""
    placements: tuple[Placement, ...] = Field(min_length=1)
    """Placements a page has; a request may ask for some of them."""
    features: tuple[FeatureSpec, ...] = Field(min_length=1)
    """What shoppers, purchases and offers are described by."""
    crosses: tuple[CrossSpec, ...] = ()
    """Combinations of features with embeddings of their own."""
    tasks: tuple[TaskSpec, ...] = Field(min_length=1)
    """The first is P(click | shown); the first served one that is given its label, if any, P(conversion | click)."""
    value: ValueSpec | None = None
    """What a conversion is worth, if that is to be predicted; needs a conversion task."""
    policy: Policy
    """How offers are chosen and priced."""
    model: ModelSpec = ModelSpec()
    """The network and how it is trained."""
    training: TrainingSpec = TrainingSpec()
    """Split, gates, attribution windows."""
    monitoring: MonitoringSpec = MonitoringSpec()
    """What is watched."""
    advertisers: tuple[Advertiser, ...] = ()
    """Who pays, where more than the name in a campaign is to be said."""
    campaigns: tuple[Campaign, ...] = ()
    """Who pays how much for what; needed where no catalogue holds them."""
    offers: Annotated[Sequence[Offer], AfterValidator(tuple)] = ()
    """What can be shown; needed where no catalogue holds them."""

    @model_validator(mode="before")
    @classmethod
    def _hand_down(cls, raw: object) -> object:
        """The market's missing values are those of its features."""
        if not isinstance(raw, dict) or not (words := raw.get("missing_values")) or not isinstance(raw.get("features"), list):
            return raw
        features = [{"missing_values": words, **f} if isinstance(f, dict) else f for f in raw["features"]]
        return {**raw, "features": features}

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        check_references(self)
        return self

    @cached_property
    def standing_blocks(self) -> dict[str, Blocked]:
        """Placement -> what is blocked where it is on the page, by itself or by the market; empty where nothing is anywhere."""
        of_all = Blocked(self.blocked_advertisers, self.blocked_categories)
        blocks = {p.name: of_all | Blocked(p.blocked_advertisers, p.blocked_categories) for p in self.placements}
        return blocks if any(blocks.values()) else {}

    def blocked(self, request: DecisionRequest) -> Blocked:
        """What must not be on the page that is asked for."""
        found = request.blocked
        for placement in request.placements if self.standing_blocks else ():
            found |= self.standing_blocks[placement.name]
        return found

    @cached_property
    def served_tasks(self) -> tuple[TaskSpec, ...]:
        """Tasks whose probability leaves the model, the click first: all but the auxiliary ones."""
        return tuple(t for t in self.tasks if t.role == "primary")

    @cached_property
    def conversion_task(self) -> TaskSpec | None:
        """P(conversion | click), by which CPA bids are priced."""
        return next((t for t in self.served_tasks if t.given == self.tasks[0].label), None)

    @cached_property
    def row_columns(self) -> tuple[str, ...]:
        """Integer columns of checked rows beside features and labels: when a row was decided, or -1, where it stands in the log,
        whom it was shown to and by what luck, which tasks it counts for, what its conversion was worth, and its position and
        placement, where a value, a bias or a slice needs them."""
        always = ("time_ms", LOG_ROW, CLUSTER, EXPLORED, PROPENSITY)
        columns = dict.fromkeys((*always, *(name for t in self.tasks for name in (t.usable_column, t.counts_column))))
        if (entering := self.importance_task) is not None:
            columns |= dict.fromkeys((entering.entry_column, entering.delay_column))
        sliced = {part for name in self.training.slices for part in parts_of(name)} - {f.name for f in self.features}
        if self.value is not None:
            columns[VALUE_MICROS] = None
        places = {POSITION: self.model.bias is not None or POSITION in sliced, PLACEMENT: PLACEMENT in sliced}
        return (*columns, *(name for name, needed in places.items() if needed))

    @cached_property
    def importance_task(self) -> TaskSpec | None:
        """The task whose rows enter incremental training before their labels are final, with importance weights."""
        return self.conversion_task if self.training.delayed_labels == "importance" else None

    @property
    def label_columns(self) -> set[str]:
        """Names that training rows use beside the labels."""
        named = ((f"{t.label}_matured", t.usable_column, t.counts_column, t.entry_column, t.delay_column) for t in self.tasks)
        return {name for names in named for name in names}

    @cached_property
    def campaign_by_id(self) -> dict[str, Campaign]:
        """Campaigns by id."""
        return {c.id: c for c in self.campaigns}

    @cached_property
    def advertiser_by_id(self) -> dict[str, Advertiser]:
        """Advertisers that have a record, by id."""
        return {a.id: a for a in self.advertisers}

    @cached_property
    def request_features(self) -> tuple[FeatureSpec, ...]:
        """Features one value of which holds for a whole request, in file order."""
        return tuple(f for f in self.features if f.source != "offer")

    @cached_property
    def offer_features(self) -> tuple[FeatureSpec, ...]:
        """Features with one value per offer, in file order."""
        return tuple(f for f in self.features if f.source == "offer")

    @cached_property
    def watched_slices(self) -> tuple[str, ...]:
        """`monitoring.slices`, or those that it stands for."""
        if self.monitoring.slices is not None:
            return self.monitoring.slices
        few = (
            f.name
            for f in self.features
            if f.source in ("shopper", "context") and not f.multiple
            if isinstance(f.vocabulary, tuple) and len(f.vocabulary) <= FEW_VALUES
        )
        return (*few, PLACEMENT, CAMPAIGN)

    @cached_property
    def derived_features(self) -> tuple[FeatureSpec, ...]:
        """Request features that are computed, in file order."""
        return tuple(f for f in self.request_features if f.derivation is not None)

    @cached_property
    def feature_by_name(self) -> dict[str, FeatureSpec]:
        """Features by name."""
        return {f.name: f for f in self.features}

    def derive(self, values: Mapping[str, FeatureValue], time_ms: int) -> dict[str, FeatureValue]:
        """The derived features of one request, of its others and its moment."""
        return {f.name: self._derived(f, values, time_ms) for f in self.derived_features}

    def _derived(self, feature: FeatureSpec, values: Mapping[str, FeatureValue], time_ms: int) -> FeatureValue:
        what = feature.derivation
        assert what is not None
        of = [numbers(self.feature_by_name[name].dtype, [values[name]]) for name in what.of]
        (value,) = derive(what, of or [np.array([time_ms], np.float64)])
        known = written(what, value)
        return feature.absent if known is None else known

    def crosses_of(self, side: Literal["request", "offer", "pair"]) -> list[CrossSpec]:
        """Crosses of features of the `request` alone, of the `offer` alone, or of the `pair` of both."""
        of_offer = {f.name for f in self.offer_features}
        sides = [{name in of_offer for name in c.features} for c in self.crosses]
        wanted = {"request": {False}, "offer": {True}, "pair": {False, True}}[side]
        return [c for c, found in zip(self.crosses, sides, strict=True) if found == wanted]

    def offer_value(self, offer: Offer, feature: FeatureSpec) -> FeatureValue:
        """An offer's value of an offer feature; a feature named `offer_id` is the offer's id unless given."""
        return self.value_of(offer.id, offer.features, feature)

    def value_of(self, offer_id: str, features: Mapping[str, FeatureValue], feature: FeatureSpec) -> FeatureValue:
        """`offer_value` of an offer with this id, which says this of its features."""
        if feature.name == OFFER_ID and OFFER_ID not in features:
            return offer_id
        if feature.derivation is not None:
            of = {name: self.value_of(offer_id, features, self.feature_by_name[name]) for name in feature.derivation.of}
            return self._derived(feature, of, 0)
        return feature.coerce(features[feature.name]) if feature.name in features else feature.absent

    def sell(self, other: "Market") -> None:
        """Gives this very market another's catalogue, for processes that look at what is sold and never sell: who has it sees the
        new one the next time it looks. All others take `selling`, which leaves decisions under way with what they began with."""
        self.__dict__.update({name: getattr(other, name) for name in ("advertisers", "campaigns", "offers")})
        self._forget_computed()

    def selling(
        self, campaigns: tuple[Campaign, ...], offers: Sequence[Offer], advertisers: tuple[Advertiser, ...] | None = None
    ) -> Self:
        """The same market with another catalogue, which was checked against it.

        Args:
          advertisers: None leaves them as they are.
        """
        sold = {"campaigns": campaigns, "offers": offers} | ({} if advertisers is None else {"advertisers": advertisers})
        other = self.model_copy(update=sold)
        other._forget_computed()  # a copy takes over what was computed
        return other

    def _forget_computed(self) -> None:
        for name in ("advertiser_by_id", "campaign_by_id"):
            self.__dict__.pop(name, None)

    def without_offers(self) -> Self:
        """The same market for whoever needs campaigns alone: of offers it may have many."""
        return self.selling(self.campaigns, ())


def load_market(path: Path, *, listed: bool = True) -> Market:
    """Reads and checks a market file.

    Args:
      listed: whether it must list campaigns and offers, as it must where no catalogue holds them.
    Raises:
      InvalidMarket: the first thing wrong, by dotted key, with the value and what was expected.
    """
    try:
        raw = tomli.loads(path.read_text(encoding="utf-8-sig"))  # Windows' editors begin with a byte order mark
    except FileNotFoundError:
        raise InvalidMarket(str(path), "no such file") from None
    except UnicodeDecodeError as e:
        raise InvalidMarket(str(path), f"is not UTF-8 text: {e.reason} at byte {e.start}") from None
    except OSError as e:
        raise InvalidMarket(str(path), f"cannot be read: {e.strerror}") from None
    except tomli.TOMLDecodeError as e:
        raise InvalidMarket(str(path), f"is not valid TOML: {e}") from None
    return parse_market(raw, listed=listed)


def market_digest(path: Path) -> bytes:
    """Tells whether two processes have the same market file, 32 bytes; it must be readable."""
    return hashlib.sha256(path.read_bytes()).digest()


def parse_market(raw: dict[str, object], *, listed: bool = True) -> Market:
    """Checks a market already read from TOML; errors as in `load_market`."""
    try:
        market = Market.model_validate(raw)
    except ValidationError as e:
        wrong = first_refusal(e, raw)
        key = ".".join(step for step in (_dotted(raw, wrong.location), wrong.key) if step)
        sentence = f"{wrong.sentence}, got {shown(wrong.got)}" if wrong.has_got else wrong.sentence
        raise InvalidMarket(key or "market.toml", sentence) from None
    for key, found in (("campaigns", market.campaigns), ("offers", market.offers)):
        if listed and not found:
            raise InvalidMarket(key, "expected at least 1 entry, got []" if key in raw else MISSING)
    return market


def _dotted(raw: object, location: Location) -> str:
    """`("features", 3, "dtype")` -> `features[3 "country"].dtype`, so that a list entry is found by its name."""
    parts: list[str] = []
    at: Any = raw
    for step in location:
        at = at.get(step) if isinstance(at, dict) else at[step] if isinstance(at, list) and isinstance(step, int) else None
        if isinstance(step, int):
            label = (at.get("id") or at.get("name")) if isinstance(at, dict) else None
            parts[-1] += f'[{step} "{label}"]' if label else f"[{step}]"
        else:
            parts.append(step)
    return ".".join(parts)
