"""Which user agents are no shopper's, by the list of the package crawler-user-agents: 1,500 patterns, a release each week."""

import re
from functools import lru_cache
from typing import Final

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from domain.traffic import InvalidTraffic

LONGEST = 512
"""Characters that are looked at. Browsers say what they are in half of that."""
CACHED = 8192
"""User agents whose verdict is remembered: 5 MB at most."""
_KEY = 3
_LIBRARY = ["http-library"]
"""Tags of what is a library and nothing else."""


def verdict(user_agent: str) -> str:
    """ROBOT, LIBRARY or nothing: a third of a microsecond for one that was seen lately, some 30 for another."""
    return _verdict(user_agent[:LONGEST].strip())


@lru_cache(maxsize=CACHED)
def _verdict(user_agent: str) -> str:
    found = "" if user_agent else InvalidTraffic.LIBRARY
    for i in range(len(user_agent) - _KEY + 1):
        for literal, meaning in _LITERALS.get(user_agent[i : i + _KEY], ()):
            if user_agent.startswith(literal, i):
                if meaning is InvalidTraffic.ROBOT:
                    return meaning
                found = meaning
    for expression, meaning in _EXPRESSIONS:
        if expression.search(user_agent):
            found = meaning
    return found


def _meaning(entry: dict[str, object]) -> InvalidTraffic:
    return InvalidTraffic.LIBRARY if entry.get("tags") == _LIBRARY else InvalidTraffic.ROBOT


def _literal(pattern: str) -> str | None:
    """The text that a pattern stands for, if it is a single one and long enough to be found by how it begins."""
    marked = re.sub(r"\\([^A-Za-z0-9])", "\0\\1", pattern)  # escapes of what needs none, such as `\/`
    plain = not re.search(r"[\\\[\](){}|*+?.^$]", re.sub(r"\0.", "", marked))
    text = marked.replace("\0", "")
    return text if plain and len(text) >= _KEY else None


def _literals() -> dict[str, tuple[tuple[str, InvalidTraffic], ...]]:
    """Nearly all patterns are literals: looked up by their first characters they cost a tenth of a search one after another."""
    found: dict[str, tuple[tuple[str, InvalidTraffic], ...]] = {}
    for entry in CRAWLER_USER_AGENTS_DATA:
        if text := _literal(entry["pattern"]):
            found[text[:_KEY]] = (*found.get(text[:_KEY], ()), (text, _meaning(entry)))
    return found


def _expressions() -> list[tuple[re.Pattern[str], InvalidTraffic]]:
    """The few others, as one expression of a kind; robots last, as they have the last word."""
    alone = [e for e in CRAWLER_USER_AGENTS_DATA if _literal(e["pattern"]) is None]
    kinds = [[e["pattern"] for e in alone if _meaning(e) is kind] for kind in (InvalidTraffic.LIBRARY, InvalidTraffic.ROBOT)]
    meanings = (InvalidTraffic.LIBRARY, InvalidTraffic.ROBOT)
    return [(re.compile("|".join(f"(?:{p})" for p in ps)), m) for ps, m in zip(kinds, meanings, strict=True) if ps]


_LITERALS: Final = _literals()
_EXPRESSIONS: Final = _expressions()
