"""Which findings of an hour are one thing, and which of them names it. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from math import isnan
from typing import TypeVar

from monitoring.incidents.incident import Found
from monitoring.incidents.kinds import SERVICE_LEVELS, kind_of
from monitoring.summaries import ALL, Series, Slice

F = TypeVar("F", bound=Found)
TOGETHER_HOURS = 6
"""Findings that began further apart than this have causes of their own."""
EXPLAINS = 0.5
"""A slice explains what moved if this share of the moved rows lies in it."""


def group(findings: Sequence[F], hour_length_ms: int) -> list[list[F]]:
    """Groups of findings with one cause each, the one that names it first.

    What moved in one series is named by the smallest slice that explains it: the one with the fewest rows among those whose
    moved rows, |size - usual| rows, are at least `EXPLAINS` of the most. Series that share this slice and began within
    `TOGETHER_HOURS` are one cause; the one that moved first names it, of those of the same hour the one upstream: a feature
    before the prediction made from it. What is `explained_by` a feature goes with that one. Service levels are promises of
    their own and join nothing.
    """
    of_series: dict[Series | str, list[F]] = defaultdict(list)
    explained = [f for f in findings if _explained_by(f)]
    for found in findings:
        if _explained_by(found):
            continue
        of_series[found.kind if found.kind in SERVICE_LEVELS else found.series].append(found)
    by_slice: dict[Slice | str, list[list[F]]] = defaultdict(list)
    for key, members in of_series.items():
        where = _smallest(members)
        ordered = sorted(members, key=lambda f: (f.slice != where, _first(f)))
        by_slice[key if isinstance(key, str) else where].append(ordered)
    groups: list[list[F]] = []
    for parts in by_slice.values():
        parts.sort(key=lambda part: _first(part[0]))
        for part in parts:
            near = [g for g in groups if g[0].slice == part[0].slice and _together(g[0], part[0], hour_length_ms)]
            if near and part[0].kind not in SERVICE_LEVELS:
                near[0].extend(part)
            else:
                groups.append(list(part))
    for found in explained:
        cause = next((g for g in groups if any(f.series.name == _explained_by(found) for f in g)), None)
        if cause is None:
            groups.append([found])
        else:
            cause.append(found)
    return groups


def _explained_by(found: Found) -> str:
    """The feature whose mix moved, where that is all that did: the finding follows from that feature's."""
    return str(found.detail.get("explained_by", ""))


def _first(found: Found) -> tuple[int, int, float]:
    return found.since_ms, kind_of(found.kind).order, -found.evidence


def _together(one: Found, other: Found, hour_length_ms: int) -> bool:
    return one.kind not in SERVICE_LEVELS and abs(one.since_ms - other.since_ms) <= TOGETHER_HOURS * hour_length_ms


def _smallest(members: Sequence[Found]) -> Slice:
    """The smallest slice that explains what moved in one series."""
    largest = max(members, key=_moved)
    explain = [f for f in members if f is largest or _moved(f) >= EXPLAINS * _moved(largest)]
    if all(_rows(f) for f in explain):
        return min(explain, key=lambda f: (_rows(f), f.slice == ALL, -_moved(f))).slice
    return next((f.slice for f in explain if f.slice == ALL), largest.slice)


def _moved(found: Found) -> float:
    moved = abs(found.size - found.usual) * (_rows(found) or 1.0)
    return 0.0 if isnan(moved) else moved


def _rows(found: Found) -> float:
    rows = found.detail.get("rows", 0.0)
    return float(rows) if isinstance(rows, int | float) else 0.0
