"""A first market file where there is no log yet: it serves pages at random, and learns from what comes of them."""

import re
from typing import Any

import typer

from offerrank.starting.written import comment, table

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
USUAL = "country, device, basket_value:float, items:int"


def starter_text(name: str, currency: str, ask: bool) -> str:
    """The whole file.

    Args:
      ask: whether somebody is there to answer.
    """
    described, sales, offers = USUAL, True, 2
    if ask:
        described = str(typer.prompt("What do you know of a purchase (name, or name:int, name:float)", default=USUAL))
        sales = bool(typer.confirm("Will your server report conversions", default=True))
        offers = int(typer.prompt("How many offers to begin with", default=2, type=int))
        if not 1 <= offers <= 50:
            raise typer.BadParameter(f"expected 1 to 50 offers, got {offers}")
    parts = [
        comment("Written by `offerrank init`, without data: change names, offers and prices."),
        comment("  offerrank serve --market FILE                  decides at once, at random while there is no model"),
        comment("  offerrank retrain --market FILE --log LOG      once there are some hundred clicks, from the archive"),
        table({"name": name, "currency": currency}),
        "[[placements]]\n" + table({"name": "main", "count": min(offers, 3)}),
        "[policy]\n" + comment("What is assumed of clicks and conversions until a model knows better."),
    ]
    priors = {"ctr": 0.05} | ({"cvr": 0.1} if sales else {})
    parts[-1] += table({"id": f"{name}-1", "priors": priors})
    parts.append('[[tasks]]\nname = "ctr"\nlabel = "click"\n')
    if sales:
        parts.append('[[tasks]]\nname = "cvr"\nlabel = "conversion"\ngiven = "click"\n')
    parts += [_feature(one) for one in described.split(",") if one.strip()]
    parts.append(
        comment("When it is.") + "[[features]]\n" + table({"name": "hour", "source": "context", "derived": "hour(time_ms)"})
    )
    parts.append("[[features]]\n" + table({"name": "past_clicks", "source": "history", "counter": "click"}))
    parts.append(comment("Which offer.") + "[[features]]\n" + table({"name": "offer_id", "source": "offer", "default": ""}))
    for i in range(1, offers + 1):
        paid = {"id": f"campaign-{i}", "advertiser": f"advertiser-{i}", "bid_kind": "cpc", "bid_micros": 500_000}
        parts.append("[[campaigns]]\n" + table(paid | {"daily_budget_micros": 50_000_000}))
        shown = {
            "id": f"offer-{i}",
            "campaign": f"campaign-{i}",
            "title": f"Offer {i}",
            "landing_url": f"https://example.com/{i}",
        }
        parts.append("[[offers]]\n" + table(shown))
    return "\n".join(parts)


def _feature(said: str) -> str:
    name, _, dtype = (part.strip() for part in said.partition(":"))
    if not _NAME.fullmatch(name) or dtype not in ("", "string", "int", "float"):
        wanted = "names of lower-case letters, digits and _, such as basket_value:float"
        raise typer.BadParameter(f"expected {wanted}, got {said.strip()!r}")
    keys: dict[str, Any] = {"name": name, "source": "context", "dtype": dtype or "string", "missing": "own"}
    return "[[features]]\n" + table(keys)
