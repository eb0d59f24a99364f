"""A folder that releases are copied into, perhaps slowly: which of them are whole, and which is the newest.

A release that is pushed appears at once (pipelines/push.py). One that is copied by other means appears file by file, in any
order and half-written, its manifest perhaps first; until everything is there that the manifest lists, it is left alone.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from domain.errors import ContractError, IncompleteRelease
from features.market import Market
from models.release import EXTRA, WARMUP, Release, expect_all_files, load_release, read_manifest, versions

SETTLED_S = 2.0
"""A SavedModel without a manifest is whole once nothing of it has changed for so long: nobody says what belongs to it."""

Fingerprint = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest release that can be used, if any, and why newer ones cannot, newest first."""

    release: Release | None
    passed_over: tuple[ContractError, ...]


def newest_usable(base: Path, market: Market | None = None) -> Newest:
    """The newest release of a folder that is whole and fits the market, if one is given; others are passed over."""
    passed_over: list[ContractError] = []
    for version in reversed(versions(base)):
        try:
            found = load_release(base / str(version))
            return Newest(found.compatible_with(market) if market else found, tuple(passed_over))
        except ContractError as e:
            passed_over.append(e)
    return Newest(None, tuple(passed_over))


def is_copied(folder: Path, settled_s: float = SETTLED_S) -> bool:
    """Whether a version's folder is whole, as far as one can tell without reading its files.

    By its manifest; without one, by whether nothing of it has changed for `settled_s`.
    """
    try:
        expect_all_files(folder, read_manifest(folder))
    except IncompleteRelease:
        return not _is_ours(folder) and _settled(folder, settled_s)
    except ContractError:
        pass  # whole, and wrong: whoever loads it will say how
    return True


def fingerprint(folder: Path) -> Fingerprint:
    """Changes when a file in the folder does."""
    files = []
    for path in sorted(folder.rglob("*")):
        try:
            stat = path.stat()
        except OSError:
            continue
        files.append((str(path), stat.st_size, stat.st_mtime_ns))
    return tuple(files)


def _is_ours(folder: Path) -> bool:
    """Whether it is a release, if not yet a whole one; a SavedModel from elsewhere may have warm-up requests, too."""
    return any(path.name != Path(WARMUP).name for path in (folder / EXTRA).glob("*"))


def _settled(folder: Path, settled_s: float) -> bool:
    """By the time of the last change of content or name, which no program can set; one in the future is of another clock."""
    changed_s = []
    for path in (folder, *folder.rglob("*")):
        try:
            changed_s.append(path.stat().st_ctime)
        except OSError:
            return False  # renamed or removed just now
    return not 0 <= time.time() - max(changed_s) < settled_s
