"""What the parts of a market file must be for each other; each check raises with the key that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from domain.campaign import Campaign, FeatureValue, Offer
from domain.days import DAY_S, UTC
from domain.errors import shown
from domain.refusals import Misfit
from domain.targeting import conditions, rules_of
from features.monitoring_spec import PARTNER, PLACEMENT, POSITION
from features.slices import parts_of
from features.spec import CAMPAIGN, OFFER_ID, VALUE_MICROS, FeatureSpec, first_repeated

if TYPE_CHECKING:
    from features.market import Market


def check_references(market: Market) -> None:
    """Names are defined once, and whatever is referred to exists and is of the right kind.

    Raises:
      Misfit: the first thing wrong.
    """
    _check_names(market)
    _check_tasks(market)
    by_name = {f.name: f for f in market.features}
    _check_derived(market, by_name)
    _check_model(market, by_name)
    _check_training(market, by_name)
    _check_monitoring(market, by_name)
    _check_crosses(market, by_name)
    _check_campaigns(market, by_name)
    _check_offers(market, by_name)


def place(table: str, index: int, name: str) -> str:
    """`campaigns[0 "spring"]`, as all messages name an entry."""
    return f'{table}[{index} "{name}"]'


def _check_names(market: Market) -> None:
    tensors = [t.name for f in market.features for t in f.tensors]
    for table, names in (
        ("placements", [p.name for p in market.placements]),
        ("features", [f.name for f in market.features]),
        ("tasks", [t.name for t in market.tasks]),
        ("advertisers", [a.id for a in market.advertisers]),
        ("campaigns", [c.id for c in market.campaigns]),
        ("offers", [o.id for o in market.offers]),
        ("crosses", ["*".join(sorted(c.features)) for c in market.crosses]),
        ("labels or features", [t.label for t in market.tasks] + tensors),
    ):
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise Misfit(f"{name!r} is defined twice", table)
            seen.add(name)
    for kind, names in (("labels", [t.label for t in market.tasks]), ("features", tensors)):
        for name in names:
            if name in market.label_columns:
                raise Misfit(f"{name!r} is reserved: training rows have a column of that name beside their labels", kind)
    if not market.offer_features:
        raise Misfit("expected one with source offer at least: nothing tells the offers apart", "features")


def _check_tasks(market: Market) -> None:
    labels = {t.label for t in market.tasks}
    for i, task in enumerate(market.tasks):
        if task.given is not None and task.given not in labels - {task.label}:
            raise Misfit(f"expected the label of another task, got {task.given!r}", f"{place('tasks', i, task.name)}.given")
        if task.given is None and task.space == "entire":
            raise Misfit("'entire' belongs to a task with `given`", f"{place('tasks', i, task.name)}.space")
        if task.role == "primary" and task.name not in market.policy.priors:
            raise Misfit(f"expected a prior for task {task.name!r}", "policy.priors")
    if market.tasks[0].given is not None or market.tasks[0].role != "primary":
        raise Misfit("the first must be a primary one without `given`", "tasks")
    if market.value is not None:
        if market.conversion_task is None:
            raise Misfit("is that of conversions: expected a task that is given the first one's label", "value")
        if VALUE_MICROS in {name for t in market.tasks for name in (t.name, t.label)}:
            raise Misfit(f"{VALUE_MICROS!r} is the column and the output of [value]", "tasks")


def _check_derived(market: Market, by_name: dict[str, FeatureSpec]) -> None:
    for i, f in enumerate(market.features):
        for name in f.derivation.of if f.derivation else ():
            of, key = by_name.get(name), f"{place('features', i, f.name)}.derived"
            if of is None or of.dtype == "string" or of.multiple or of.derived is not None:
                raise Misfit(f"{name!r} is not an int or float feature with single values that is itself given", key)
            if (of.source == "offer") != (f.source == "offer"):
                sides = f"{name!r} is of source {of.source!r}, this of {f.source!r}"
                raise Misfit(f"{sides}: both must be of the offer, or neither", key)


def _check_model(market: Market, by_name: dict[str, FeatureSpec]) -> None:
    for name in market.model.gate_features:
        if name not in by_name:
            raise Misfit(f"{name!r} is not a feature", "model.gate_features")
    for name in market.model.bias.features if market.model.bias else ():
        spec = by_name.get(name)
        if spec is None or spec.source == "offer" or not isinstance(spec.vocabulary, tuple) or spec.multiple:
            wanted = "a request feature with single values and a given vocabulary"
            raise Misfit(f"{name!r} is not {wanted}", "model.bias.features")


def _check_training(market: Market, by_name: dict[str, FeatureSpec]) -> None:
    training, click = market.training, market.tasks[0].label
    weighted = training.delayed_labels == "importance"
    if weighted and (market.conversion_task is None or market.conversion_task.space == "entire"):
        needed = f"a served task given {click!r} whose space is 'conditional'"
        raise Misfit(f"'importance' needs {needed}", "training.delayed_labels")
    for name in training.gates:
        if name not in {t.name for t in market.served_tasks}:
            raise Misfit(f"{name!r} is not a task that is served", "training.gates")
    for name in training.max_missing:
        if name not in by_name:
            raise Misfit(f"{name!r} is not a feature", "training.max_missing")
    _check_slices(training.slices, by_name, "training.slices", placed=True)
    _check_slices(training.calibration.slices, by_name, "training.calibration.slices", placed=False)
    split_by = by_name.get(str(training.split.by))
    if split_by is not None and split_by.multiple:
        raise Misfit(f"{split_by.name!r} has several values per row", "training.split.by")


def _check_slices(names: tuple[str, ...], by_name: dict[str, FeatureSpec], key: str, *, placed: bool) -> None:
    """Slices of offers whose place on the page is known, or not yet, as when they are priced."""
    for name in names:
        parts = parts_of(name)
        if len(parts) > 2 or len(set(parts)) < len(parts):
            raise Misfit(f"expected a slice or a pair of two, such as 'format x placement', got {name!r}", key)
        for part in parts:
            spec = by_name.get(part)
            if spec is None and part in (PLACEMENT, POSITION):
                if not placed:
                    raise Misfit(f"{part!r} is known only after the auction, which calibrated probabilities price", key)
                continue
            if spec is None and part == CAMPAIGN:
                spec = by_name.get(OFFER_ID)
                if spec is None or spec.source != "offer":
                    raise Misfit(f"{CAMPAIGN!r} needs an offer feature {OFFER_ID!r}", key)
            if spec is None or spec.dtype == "float" or spec.multiple:
                raise Misfit(f"{part!r} is not a string or int feature with single values", key)
    if (twice := first_repeated(names)) is not None:
        raise Misfit(f"lists {twice!r} twice", key)


def _check_monitoring(market: Market, by_name: dict[str, FeatureSpec]) -> None:
    slices = market.monitoring.slices or ()
    for name in slices:
        if name in (PLACEMENT, POSITION, PARTNER, CAMPAIGN):
            continue
        if name not in by_name or by_name[name].multiple or by_name[name].dtype == "float":
            wanted = "a string or int feature with single values, nor placement, position, campaign or partner"
            raise Misfit(f"{name!r} is not {wanted}", "monitoring.slices")
    if (twice := first_repeated(slices)) is not None:
        raise Misfit(f"lists {twice!r} twice", "monitoring.slices")


def _check_crosses(market: Market, by_name: dict[str, FeatureSpec]) -> None:
    for i, cross in enumerate(market.crosses):
        for name in cross.features:
            spec = by_name.get(name)
            if spec is None or spec.dtype == "float" or spec.multiple:
                raise Misfit(f"{name!r} is not a string or int feature with single values", f"crosses[{i}].features")
        if len(set(cross.features)) < len(cross.features):
            raise Misfit(f"expected different features, got {shown(cross.features)}", f"crosses[{i}].features")


def _check_campaigns(market: Market, by_name: dict[str, FeatureSpec]) -> None:
    for i, c in enumerate(market.campaigns):
        check_campaign(market, by_name, c, place("campaigns", i, c.id))


def check_campaign(market: Market, by_name: Mapping[str, FeatureSpec], c: Campaign, at: str) -> None:
    """Whether a campaign fits the market; `at` names it in the error."""
    if c.bid_kind == "cpa" and market.conversion_task is None:
        raise Misfit("cpa needs a task that predicts conversions given a click", f"{at}.bid_kind")
    if c.time_zone != UTC and market.policy.day_length_s != DAY_S:
        only = f"expected UTC, since days of {market.policy.day_length_s} s (policy.day_length_s) are those of no place"
        raise Misfit(f"{only}, got {c.time_zone!r}", f"{at}.time_zone")
    for way, rule in rules_of(c.targeting):
        for name, condition in conditions(rule):
            _check_condition(by_name.get(name), name, condition, f"{at}.targeting.{way}")


def _check_condition(spec: FeatureSpec | None, name: str, condition: Mapping[str, Any], at: str) -> None:
    if spec is None or spec.source not in ("shopper", "context") or spec.multiple:
        raise Misfit(f"{name!r} is not a shopper or context feature with single values", at.rstrip("."))
    for value in (*condition.get("in", ()), *condition.get("not_in", ())):
        _coerce(spec, value, f"{at}{name}")
    for bound in ("min", "max"):
        if bound in condition:
            if spec.dtype == "string":
                raise Misfit(f"{name!r} is not a number", f"{at}{name}.{bound}")
            _coerce(spec, condition[bound], f"{at}{name}.{bound}")


def _check_offers(market: Market, by_name: dict[str, FeatureSpec]) -> None:
    campaigns = {c.id for c in market.campaigns}
    for i, o in enumerate(market.offers):
        at = place("offers", i, o.id)
        if o.campaign not in campaigns:
            raise Misfit(f"expected one of the campaigns, got {o.campaign!r}", f"{at}.campaign")
        check_features(by_name, o, at)


def check_features(by_name: Mapping[str, FeatureSpec], o: Offer, at: str) -> None:
    """Whether an offer's features are those of the market; `at` names it in the error."""
    for name, given in o.features.items():
        spec = by_name.get(name)
        if spec is None or spec.source != "offer":
            raise Misfit(f"{name!r} is not a feature with source offer", f"{at}.features")
        if spec.derived is not None:
            raise Misfit(f"{name!r} is derived: it cannot be given", f"{at}.features")
        _coerce(spec, given, f"{at}.features.{name}")


def _coerce(spec: FeatureSpec, value: FeatureValue, key: str) -> FeatureValue:
    try:
        return spec.coerce(value)
    except ValueError as e:
        raise Misfit(str(e), key) from None
