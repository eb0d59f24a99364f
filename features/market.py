"""Reads market.toml, the one file that describes a market. docs/market.md lists every key."""

import hashlib
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from domain.campaign import Campaign, FeatureValue, Offer
from domain.errors import InvalidMarket
from domain.policy import Policy
from features.model_spec import ModelSpec, TaskSpec
from features.spec import OFFER_ID, CrossSpec, FeatureSpec, Record
from features.training_spec import TrainingSpec

CAMPAIGN = "campaign"
"""Slice of calibration that is no feature: the campaign of the row's offer."""


class Placement(Record):
    """A named place on the page."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")
    """Name by which a request asks for it."""
    count: int = Field(ge=1, le=20)
    """Offers shown there unless a request asks for fewer."""


class Market(Record):
    """A whole market: what is sold, to whom, how it is described, predicted and priced."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")
    """Names the market in Redis keys and logs."""
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    """ISO 4217 code that every amount is in."""
    placements: tuple[Placement, ...] = Field(min_length=1)
    """Placements a page has; a request may ask for some of them."""
    features: tuple[FeatureSpec, ...] = Field(min_length=1)
    """What shoppers, purchases and offers are described by."""
    crosses: tuple[CrossSpec, ...] = ()
    """Combinations of features with embeddings of their own."""
    tasks: tuple[TaskSpec, ...] = Field(min_length=1)
    """The first is P(click | shown); the first served one that is given its label, if any, P(conversion | click)."""
    policy: Policy
    """How offers are chosen and priced."""
    model: ModelSpec = ModelSpec()
    """The network and how it is trained."""
    training: TrainingSpec = TrainingSpec()
    """Split, gates, attribution windows."""
    campaigns: tuple[Campaign, ...] = Field(min_length=1)
    """Who pays how much for what."""
    offers: tuple[Offer, ...] = Field(min_length=1)
    """What can be shown."""

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        for kind, ids in (
            ("placement", [p.name for p in self.placements]),
            ("feature", [f.name for f in self.features]),
            ("task", [t.name for t in self.tasks]),
            ("campaign", [c.id for c in self.campaigns]),
            ("offer", [o.id for o in self.offers]),
            ("cross", ["*".join(sorted(c.features)) for c in self.crosses]),
            ("label or feature", [t.label for t in self.tasks] + [t.name for f in self.features for t in f.tensors]),
        ):
            seen: set[str] = set()
            for one in ids:
                if one in seen:
                    raise ValueError(f"{kind} {one!r} is defined twice")
                seen.add(one)
        labels = {t.label for t in self.tasks}
        for name in sorted(labels | {t.name for f in self.features for t in f.tensors}):
            if name in self._label_columns:
                raise ValueError(f"{name!r} is reserved: training rows have a column of that name beside their labels")
        for task in self.tasks:
            if task.given is not None and task.given not in labels - {task.label}:
                raise ValueError(f"tasks.{task.name}.given: expected the label of another task, got {task.given!r}")
            if task.given is None and task.space == "entire":
                raise ValueError(f"tasks.{task.name}.space: 'entire' belongs to a task with `given`")
            if task.role == "primary" and task.name not in self.policy.priors:
                raise ValueError(f"policy.priors: expected a prior for task {task.name!r}, got {self.policy.priors}")
        if self.tasks[0].given is not None or self.tasks[0].role != "primary":
            raise ValueError("tasks: the first task must be a primary one without `given`")
        weighted = self.training.delayed_labels == "importance"
        if weighted and (self.conversion_task is None or self.conversion_task.space == "entire"):
            expected = f"a served task given {self.tasks[0].label!r} whose space is 'conditional'"
            raise ValueError(f"training.delayed_labels: 'importance' needs {expected}")
        for name in self.training.gates:
            if name not in {t.name for t in self.served_tasks}:
                raise ValueError(f"training.gates: {name!r} is not a task that is served")
        feature_by_name = {f.name: f for f in self.features}
        for name in self.model.gate_features:
            if name not in feature_by_name:
                raise ValueError(f"model.gate_features: {name!r} is not a feature")
        for name in self.model.bias.features if self.model.bias else ():
            spec = feature_by_name.get(name)
            if spec is None or spec.source == "offer" or not isinstance(spec.vocabulary, tuple) or spec.multiple:
                raise ValueError(
                    f"model.bias.features: {name!r} is not a request feature with single values and a given vocabulary"
                )
        for name in self.training.max_missing:
            if name not in feature_by_name:
                raise ValueError(f"training.max_missing: {name!r} is not a feature")
        for name in self.training.slices:
            if name not in feature_by_name or feature_by_name[name].multiple:
                raise ValueError(f"training.slices: {name!r} is not a feature with single values")
        for name in self.training.calibration.slices:
            of = feature_by_name.get(OFFER_ID if name == CAMPAIGN else name)
            if of is None or of.dtype == "float" or of.multiple or (name == CAMPAIGN and of.source != "offer"):
                known = "a string or int feature with single values"
                known += f", or {CAMPAIGN!r} where there is an offer feature {OFFER_ID!r}"
                raise ValueError(f"training.calibration.slices: expected {known}, got {name!r}")
        split_by = feature_by_name.get(str(self.training.split.by))
        if split_by is not None and split_by.multiple:
            raise ValueError(f"training.split.by: {split_by.name!r} has several values per row")
        for i, cross in enumerate(self.crosses):
            for name in cross.features:
                spec = feature_by_name.get(name)
                if spec is None or spec.dtype == "float" or spec.multiple:
                    raise ValueError(f"crosses[{i}].features: {name!r} is not a string or int feature with single values")
            if len(set(cross.features)) < len(cross.features):
                raise ValueError(f"crosses[{i}].features: expected different features, got {list(cross.features)}")
        campaigns = {c.id for c in self.campaigns}
        for c in self.campaigns:
            if c.bid_kind == "cpa" and self.conversion_task is None:
                raise ValueError(f"campaigns.{c.id}.bid_kind: cpa needs a task that predicts conversions given a click")
            for name, accepted in c.targeting.items():
                spec = feature_by_name.get(name)
                if spec is None or spec.source not in ("shopper", "context") or spec.multiple:
                    raise ValueError(
                        f"campaigns.{c.id}.targeting: {name!r} is not a shopper or context feature with single values"
                    )
                for value in accepted:
                    _coerced(spec, value, f"campaigns.{c.id}.targeting.{name}")
        for o in self.offers:
            if o.campaign not in campaigns:
                raise ValueError(f"offers.{o.id}.campaign: expected one of the campaigns, got {o.campaign!r}")
            for name, given in o.features.items():
                spec = feature_by_name.get(name)
                if spec is None or spec.source != "offer":
                    raise ValueError(f"offers.{o.id}.features: {name!r} is not a feature with source offer")
                _coerced(spec, given, f"offers.{o.id}.features.{name}")
        return self

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
        """Integer columns of checked rows beside features and labels: which tasks a row counts for, and the position, where its
        bias is learned."""
        columns = dict.fromkeys(name for t in self.tasks for name in (t.usable_column, t.counts_column))
        if (entering := self.importance_task) is not None:
            columns |= dict.fromkeys((entering.entry_column, entering.delay_column))
        return (*columns, "position") if self.model.bias else tuple(columns)

    @cached_property
    def importance_task(self) -> TaskSpec | None:
        """The task whose rows enter incremental training before their labels are final, with importance weights."""
        return self.conversion_task if self.training.delayed_labels == "importance" else None

    @property
    def _label_columns(self) -> set[str]:
        named = ((f"{t.label}_matured", t.usable_column, t.counts_column, t.entry_column, t.delay_column) for t in self.tasks)
        return {name for names in named for name in names}

    @cached_property
    def campaign_by_id(self) -> dict[str, Campaign]:
        """Campaigns by id."""
        return {c.id: c for c in self.campaigns}

    @cached_property
    def request_features(self) -> tuple[FeatureSpec, ...]:
        """Features one value of which holds for a whole request, in file order."""
        return tuple(f for f in self.features if f.source != "offer")

    @cached_property
    def offer_features(self) -> tuple[FeatureSpec, ...]:
        """Features with one value per offer, in file order."""
        return tuple(f for f in self.features if f.source == "offer")

    def crosses_of(self, side: Literal["request", "offer", "pair"]) -> list[CrossSpec]:
        """Crosses of features of the `request` alone, of the `offer` alone, or of the `pair` of both."""
        of_offer = {f.name for f in self.offer_features}
        sides = [{name in of_offer for name in c.features} for c in self.crosses]
        wanted = {"request": {False}, "offer": {True}, "pair": {False, True}}[side]
        return [c for c, found in zip(self.crosses, sides, strict=True) if found == wanted]

    def offer_value(self, offer: Offer, feature: FeatureSpec) -> FeatureValue:
        """An offer's value of an offer feature; a feature named `offer_id` is the offer's id unless given."""
        if feature.name == OFFER_ID and OFFER_ID not in offer.features:
            return offer.id
        return feature.coerce(offer.features[feature.name]) if feature.name in offer.features else feature.absent


def _coerced(spec: FeatureSpec, value: FeatureValue, key: str) -> FeatureValue:
    try:
        return spec.coerce(value)
    except ValueError as e:
        raise ValueError(f"{key}: {e}") from None


def load_market(path: Path) -> Market:
    """Reads and checks a market file.

    Raises:
      InvalidMarket: the first thing wrong, by dotted key, with the value and what was expected.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidMarket(str(path), "a market.toml file", "no such file") from None
    except (OSError, UnicodeDecodeError) as e:
        raise InvalidMarket(str(path), "a readable UTF-8 file", str(e)) from None
    except tomllib.TOMLDecodeError as e:
        raise InvalidMarket(str(path), "valid TOML", str(e)) from None
    return parse_market(raw)


def market_digest(path: Path) -> bytes:
    """Tells whether two processes have the same market file, 32 bytes; it must be readable."""
    return hashlib.sha256(path.read_bytes()).digest()


def parse_market(raw: dict[str, object]) -> Market:
    """Checks a market already read from TOML; errors as in `load_market`."""
    try:
        return Market.model_validate(raw)
    except ValidationError as e:
        first = e.errors()[0]
        key = _dotted(raw, first["loc"])
        got: object = "nothing" if first["type"] == "missing" else first["input"]
        if isinstance(got, dict):
            got = first.get("ctx", {}).get("error", "a table")
        raise InvalidMarket(key or "market.toml", first["msg"].removeprefix("Value error, "), got) from None


def _dotted(raw: object, location: tuple[int | str, ...]) -> str:
    """`("features", 3, "dtype")` -> `features[3 "country"].dtype`, so that a list entry is found by its name."""
    parts: list[str] = []
    at: object = raw
    for step in location:
        if isinstance(step, int):
            at = at[step] if isinstance(at, list) and step < len(at) else None
            label = (at.get("id") or at.get("name")) if isinstance(at, dict) else None
            parts[-1] += f'[{step} "{label}"]' if label else f"[{step}]"
        else:
            at = at.get(step) if isinstance(at, dict) else None
            parts.append(step)
    return ".".join(parts)
