"""What each column of a log is taken for, and why: pure, from what was seen of it."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from features.spec import RESERVED
from offerrank.starting.seen import Seen, is_flag

LISTED = 30
"""Texts of up to so many values have them listed."""
LISTED_NUMBERS = 12
LEAST_ROWS = 5
"""Of a value that gets an embedding of its own."""
MOST_LEARNED = 20_000
BUCKETS = 40
"""Quantiles wanted of a number's values beside its most frequent one."""

_LABEL = (
    r"label|target|y|click(ed)?|is_click|conver(ted|sion)|subscrib\w*|accept\w*|purchas\w*|bought|buy|redeem\w*|respon\w*|"
    r"outcome|result|won|sold|booked"
)
_SALE = r".*(conver|purchas|bought|order|sale|sold|buy).*"
_TIME = r".*(time|date|timestamp|_ts|_at|day)$|^(ts|at|created|shown|start)\w*"
_OFFER = (
    r"(offer|ad|item|coupon|product|creative|banner|sku|upc|article)([ _-]?(id|key|code|upc|sku|name|type))?|"
    r"campaign[ _-]?(id|key|name)"
)
_WHO = (
    r"(user|customer|shopper|client|member|household|person|visitor|account|device)[ _-]?(id|key|hash|uuid|no|number)?|e?mail\w*"
)
_ID = r"(.*[ _-])?(id|key|uuid|guid|hash|token|index|row|rownum|no)|unnamed.*|"
CODE = r".*(code|type|category|kind|class|zip|postcode|_id|level|group|segment)$"
_OF_SHOPPER = (
    r".*(age|gender|sex|income|job|occupation|education|marital|member|customer|user|household|loyal|segment|children|kids|tenure|"
    r"race|citizen|birth|family|married|employ|work|home_owner|car|visits|before).*"
)


@dataclass(frozen=True, slots=True)
class Guess:
    """A feature as it will stand in the file."""

    column: str
    keys: dict[str, Any]
    """Of its table, `name` and `source` first."""
    why: str


@dataclass(slots=True)
class Names:
    """Gives every column a name that the market file allows, once."""

    taken: set[str] = field(default_factory=set)

    def of(self, column: str, most: int = 64) -> str:
        """`Emp.Var Rate` -> `emp_var_rate`."""
        plain = unicodedata.normalize("NFKD", column).encode("ascii", "ignore").decode().lower()
        name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[: most - 4] or "column"
        name = name if name[0].isalpha() else f"c_{name}"[:most]
        name = f"{name}_given" if name in RESERVED or name == "offer_id" else name
        fresh, number = name, 2
        while fresh in self.taken:
            fresh, number = f"{name}_{number}", number + 1
        self.taken.add(fresh)
        return fresh


def is_named(pattern: str, column: str) -> bool:
    """Whether the whole of a name is of a kind, in any case."""
    return re.fullmatch(pattern, column.strip().lower()) is not None


def guess_labels(columns: Iterable[Seen]) -> list[str]:
    """Columns that may be what is to be predicted, the likeliest first; none where nothing speaks for one.

    A column of two values that is named like an outcome, or the last one of the file.
    """
    known = list(columns)
    scored = []
    for i, seen in enumerate(known):
        if len(seen.values) != 2 or seen.many or seen.lacking:
            continue
        score = 4 * is_named(_LABEL, seen.name) + 2 * is_flag(seen) + 4 * (i == len(known) - 1) - 3 * is_named(_SALE, seen.name)
        if score >= 4 - 3 * is_named(_SALE, seen.name):
            scored.append((-score, i, seen.name))
    return [name for _, _, name in sorted(scored)]


def positive_value(seen: Seen) -> str | None:
    """The text that means 1, where it has to be said; the rarer one."""
    return None if is_flag(seen) else min(seen.values, key=lambda value: seen.values[value])


def guess_time(columns: Iterable[Seen]) -> str | None:
    """The column that rows may be ordered by: times in every row, several of them."""
    found = [s for s in columns if s.missing == 0 and s.distinct >= 10 and (s.type == "time" or _unix(s))]
    return min(found, key=lambda s: not is_named(_TIME, s.name)).name if found else None


def _unix(seen: Seen) -> bool:
    numbers = seen.numbers
    if seen.type != "number" or not is_named(_TIME, seen.name) or not len(numbers):
        return False
    return any(bool(((numbers >= 946_684_800 * s) & (numbers < 4_102_444_800 * s)).all()) for s in (1, 1e3, 1e6, 1e9))


def moments(seen: Seen) -> list[datetime]:
    """Some of its times, UTC."""
    if seen.type == "time":
        told = (value.strip().replace("Z", "+00:00").replace(" UTC", "+00:00") for value in list(seen.counts)[:5000])
        return [at if at.tzinfo else at.replace(tzinfo=UTC) for at in map(_parsed, told) if at is not None]
    numbers = seen.numbers[:5000]
    unit = next((u for u in (1, 1e3, 1e6, 1e9) if len(numbers) and numbers.max() < 4_102_444_800 * u), 1e9)
    return [datetime.fromtimestamp(float(n) / unit, UTC) for n in numbers]


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def guess_offer(columns: Iterable[Seen]) -> str | None:
    """The column that tells offers apart, by its name: one ends in id before one that does not."""
    found = [s for s in columns if is_named(_OFFER, s.name) and s.type in ("text", "number") and len(s.values) > 1]
    return (
        min(
            found,
            key=lambda s: (not s.name.lower().startswith(("offer", "ad")), s.distinct < 3, s.name.lower().startswith("campaign")),
        ).name
        if found
        else None
    )


def is_shoppers_key(seen: Seen) -> bool:
    """Whether it names the person, so that rows of one belong on one side of the split."""
    return is_named(_WHO, seen.name) and (seen.many or seen.distinct >= 50) and seen.type in ("text", "number")


def why_left_out(seen: Seen) -> str | None:
    """Why a column is no feature; None of one that may be."""
    known = seen.rows - seen.lacking
    if not known:
        return "no row has a value"
    if seen.type not in ("text", "number", "flag", "list"):
        return {"long text": "texts of more than 256 characters", "time": "a time; derived features can be made of one only"}.get(
            seen.type, f"{seen.type} cannot be a feature"
        )
    if len(seen.values) == 1 and not seen.lacking and not seen.many:
        return "every row has the same value"
    apart = (seen.many or seen.distinct > 0.5 * known) and known >= 50
    if apart and seen.type in ("text", "list") and seen.type != "list":
        return "nearly every row has a value of its own"
    if is_named(_WHO, seen.name) and apart:
        return "it names a person"
    if is_named(_ID, seen.name) and seen.type == "number" and seen.whole and (seen.many or seen.distinct > 0.9 * known):
        return "it numbers the rows"
    return None


def guess_source(column: str) -> tuple[str, str]:
    """`shopper` or `context`, which come with the request alike."""
    return ("shopper", "by its name of the person") if is_named(_OF_SHOPPER, column) else ("context", "of the purchase")


def guess_feature(seen: Seen, name: str, source: str) -> Guess:
    """Type, encoding and what a missing value is."""
    keys: dict[str, Any] = {"name": name, "source": source}
    if name != seen.name:
        keys["column"] = seen.name
    values, known = seen.values, seen.rows - seen.lacking
    share = f"{100 * seen.lacking / seen.rows:.2g} % missing" if seen.lacking else "none missing"
    many = f"{len(values):,}{' or more' if seen.many else ''} values"
    if seen.type == "list":
        keys |= {"multiple": True, "max_values": min(max(16, 2 * seen.longest), 1000), "vocabulary": _learned(values)}
        return Guess(seen.name, keys, f"lists of up to {seen.longest}, {many}")
    if seen.type == "flag":
        keys |= {"dtype": "int", "vocabulary": [0, 1], **_missing(seen, int(next(iter(values)).strip().lower() == "true"))}
        return Guess(seen.name, keys, f"true and false, which are 1 and 0; {share}")
    if seen.type == "text":
        keys |= _missing(seen, next(iter(values)))
        if len(values) <= LISTED and not seen.many:
            return Guess(seen.name, keys | {"vocabulary": list(values)}, f"text, {many}, all listed; {share}")
        return Guess(seen.name, keys | {"vocabulary": _learned(values)}, f"text, {many}, the most frequent are learned; {share}")
    return _guess_number(seen, keys, f"{many}, {share}", known)


def _guess_number(seen: Seen, keys: dict[str, Any], said: str, known: int) -> Guess:
    numbers = seen.numbers[np.isfinite(seen.numbers)]
    middle = float(np.median(numbers)) if len(numbers) else 0.0
    keys["dtype"] = "int" if seen.whole else "float"
    keys |= _missing(seen, round(middle) if seen.whole else middle)
    whole = {int(float(value)) for value in seen.values} if seen.whole and not seen.many else set()
    if whole and len(whole) <= LISTED_NUMBERS:
        return Guess(
            seen.name, keys | {"vocabulary": sorted(whole)}, f"whole numbers, {said}: few enough to be learned one by one"
        )
    if whole and is_named(CODE, seen.name):
        return Guess(seen.name, keys | {"vocabulary": _learned(seen.values)}, f"codes by the name, {said}: learned one by one")
    most = max(seen.values.values()) / known if seen.values and not seen.many else 0.0
    quantiles = int(np.clip(round(BUCKETS / max(1 - most, 1e-3)), 10, 1000))
    keys |= {"quantiles": quantiles, "normalize": not is_steep(seen)}
    if not keys["normalize"]:
        del keys["normalize"]
    kind = "whole numbers" if seen.whole else "numbers"
    finely = f", cut finely since {most:.0%} are one value" if most > 0.3 else ""
    return Guess(seen.name, keys, f"{kind}, {said}{finely}")


def is_steep(seen: Seen) -> bool:
    """Whether a few large numbers would be all that its mean and deviation tell: its logarithm says more."""
    numbers = seen.numbers[np.isfinite(seen.numbers)]
    if seen.type != "number" or len(numbers) < 20 or float(numbers.min()) < 0:
        return False
    above = numbers[numbers > 0]
    return bool(len(above) and numbers.max() > 50 * np.median(above))


def _missing(seen: Seen, usual: object) -> dict[str, Any]:
    """A state of its own where some rows lack it; else what most have, in case that a request does."""
    return {"missing": "own"} if seen.lacking else {"default": usual}


def _learned(values: dict[str, int]) -> int:
    frequent = sum(count >= LEAST_ROWS for count in values.values())
    return int(np.clip(frequent, 10, MOST_LEARNED))
