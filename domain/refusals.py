"""What is wrong with a value from outside, in plain words: one sentence from what pydantic found, for files, settings and HTTP.

bid_micros = 0.5      expected a whole number
currency left out     is missing
count = 0             expected at least 1
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from domain.errors import OfferRankError, shown
from domain.local_paths import require_local

Location = tuple[int | str, ...]
Settings = TypeVar("Settings", bound=BaseModel)

MISSING = "is missing"
UNKNOWN = "there is no such key"

OFFER_ID = r"^[^\s\x00-\x1f\x7f-\x9f](?:[^\x00-\x1f\x7f-\x9f\u2028\u2029]{0,62}[^\s\x00-\x1f\x7f-\x9f])?$"
"""Offers are named as a shop names its products. Their ids are values everywhere, in no Redis key, file name or path."""
HTTPS = r"""^https://[^\s\x00-\x1f\x7f"'<>\\]+$"""
"""Neither a script nor anything that ends an attribute or a line."""
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*$"
PATTERNS = {
    r"^[A-Z]{3}$": "three capital letters, such as EUR",
    r"^https?://": "an address that begins with https:// or http://",
    r"^https?://[^\s]+$": "an address that begins with https:// or http://",
    HTTPS: "an address that begins with https://",
    PRINTABLE: "printable characters",
    r"^[a-z][a-z0-9_-]{0,63}$": "up to 64 lower-case letters, digits, _ and -, a letter first",
    r"^[a-z][a-z0-9_]{0,63}$": "up to 64 lower-case letters, digits and _, a letter first",
    r"^[a-z][a-z0-9_]{0,31}$": "up to 32 lower-case letters, digits and _, a letter first",
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$": "up to 64 letters, digits, . _ and -, a letter or digit first",
    OFFER_ID: "1 to 64 printable characters, no space first or last",
    r"^[A-Za-z0-9._-]{1,64}$": "1 to 64 letters, digits, . _ and -",
    r"^[^\x00-\x1f\x7f-\x9f]{1,256}$": "1 to 256 printable characters",
}
"""Regular expressions of market.toml and of the API, in words."""

_EXPECTED = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "finite_number": "a finite number",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "at most {le}",
    "string": "a string",
    "string_too_short": "at least {min_length} character(s)",
    "string_too_long": "at most {max_length} characters",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "union_tag_invalid": "one of {expected_tags}",
    "list": "a list",
    "tuple": "a list",
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
    "dict": "{table}",
    "model": "{table}",
    "datetime": "a date with time, such as 2026-12-01T08:00:00Z",
    "path": "a path",
}
"""By pydantic's type of error, or by what it begins with: `int_parsing` and `int_from_float` are `int`."""


class Misfit(ValueError):
    """Raised by validators: what is wrong, and with which key below the one that is checked."""

    def __init__(self, sentence: str, key: str = "") -> None:
        super().__init__(f"{key}: {sentence}" if key else sentence)
        self.sentence = sentence
        self.key = key


@dataclass(frozen=True, slots=True)
class Refusal:
    """The first thing wrong with an input."""

    location: Location
    """Steps to it, all of them in the input but the last of a missing key."""
    key: str
    """The rest of the way, where a validator knows more than the place it was called for."""
    sentence: str
    """Such as `expected at least 1`; what was got is not in it."""
    has_got: bool
    """Whether `got` adds anything."""
    got: object
    """The value as it was given."""


def first_refusal(error: ValidationError, given: object = None, table: str = "a table") -> Refusal:
    """The first thing wrong, said once: of a union all that it would take, never the name of a type.

    Args:
      given: what was validated, as it was read from TOML or JSON; without it, locations are pydantic's.
      table: what a table is called there.
    """
    found = error.errors(include_url=False)
    return _refusal(found[0], found, given, table)


def every_refusal(error: ValidationError, given: object = None, table: str = "a table") -> list[Refusal]:
    """All that is wrong, each place once; as `first_refusal`."""
    found = error.errors(include_url=False)
    by_place: dict[tuple[Location, str], Refusal] = {}
    for one in found:
        refusal = _refusal(one, found, given, table)
        by_place.setdefault((refusal.location, refusal.key), refusal)
    return list(by_place.values())


def _refusal(first: Any, found: Sequence[Any], given: object, table: str) -> Refusal:
    location = _within(given, first["loc"], keep_last=first["type"] == "missing")
    kind, cause = first["type"], first.get("ctx", {}).get("error")
    if isinstance(cause, Misfit):
        return Refusal(location, cause.key, cause.sentence, False, None)
    if kind == "value_error":
        return Refusal(location, "", str(cause), False, None)
    if kind in ("missing", "union_tag_not_found"):
        location = (*location, "type") if kind == "union_tag_not_found" else location
        return Refusal(location, "", MISSING, False, None)
    if kind == "json_invalid":
        return Refusal(location, "", f"is not JSON: {first['ctx']['error']}", False, None)
    if kind == "extra_forbidden":
        return Refusal(location, "", UNKNOWN, False, None)
    if kind == "union_tag_invalid":
        return Refusal((*location, "type"), "", f"expected {_expected(first, table)}", True, first["ctx"]["tag"])
    same = [e for e in found if _within(given, e["loc"]) == location and e["type"] != "value_error"]
    expected = " or ".join(dict.fromkeys(_expected(e, table) for e in same))
    return Refusal(location, "", f"expected {expected}", not isinstance(first["input"], Mapping), first["input"])


def read_settings(kind: type[Settings], **given: Any) -> Settings:
    """A process's settings: those given here, the rest from its environment; None is not given.

    Raises:
      OfferRankError: one is wrong; names its variable, and shows no secret. Or a path is an address.
    """
    try:
        settings = kind(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as e:
        wrong = first_refusal(e)
        name = "OFFERRANK_" + "_".join(map(str, wrong.location)).upper()
        got = f", got {shown(wrong.got)}" if wrong.has_got and not name.endswith(("SECRET", "KEY")) else ""
        raise OfferRankError(f"{name}: {wrong.sentence}{got}") from None
    for _, value in settings:
        if isinstance(value, Path):
            require_local(value)
    return settings


def _expected(error: Any, table: str) -> str:
    kind = str(error["type"])
    context: dict[str, Any] = {name: _number(value) for name, value in error.get("ctx", {}).items()} | {"table": table}
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(str(context["pattern"]), f"a string of the form {context['pattern']}")
    words = _EXPECTED.get(kind) or _EXPECTED.get(kind.partition("_")[0])
    if words is None:
        return str(error["msg"]).removeprefix("Input should be ")
    return _one_or_many(words.format(**context))


def _number(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _one_or_many(words: str) -> str:
    return words.replace("at least 1 entries", "at least 1 entry").replace("1 character(s)", "1 character").replace("(s)", "s")


def _within(given: object, location: Sequence[int | str], keep_last: bool = False) -> Location:
    """The steps that are in the input: pydantic adds which branch of a union it tried."""
    if given is None:
        return tuple(location)
    at: Any = given
    kept: list[int | str] = []
    for i, step in enumerate(location):
        known = step in at if isinstance(at, Mapping) else isinstance(step, int) and isinstance(at, list) and step < len(at)
        if known:
            at = at[step]
        elif not (keep_last and i == len(location) - 1):
            continue
        kept.append(step)
    return tuple(kept)
