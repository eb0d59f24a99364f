"""Replays all decisions of a time, part by part of the archive, over as many processes as are given."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

from domain.errors import OfferRankError
from serving.replay.differences import Difference, differences
from serving.replay.logged import Logged, parts_between, read_decisions
from serving.replay.world import Sources, World

KEPT = 200
"""Differences that are told of one part."""


Which = tuple[int, float, int | None]
"""Since and until which time, in ms, and how many at most."""


@dataclass
class Replayed:
    """What came of some decisions."""

    decisions: int = 0
    """Made once more."""
    differing: int = 0
    differences: list[Difference] = field(default_factory=list)
    """Of each that differs the first ones, of at most some."""
    refused: Counter[str] = field(default_factory=Counter)
    """Why -> how many could not be made once more."""

    def __iadd__(self, other: "Replayed") -> "Replayed":
        self.decisions += other.decisions
        self.differing += other.differing
        self.differences += other.differences
        self.refused += other.refused
        return self


def sweep(sources: Sources, since_ms: int, until_ms: float, processes: int = 1, sample: int | None = None) -> Replayed:
    """Archived decisions that were made between two times, both included.

    Args:
      sample: so many at most, about as many of each part; None for all.
    """
    paths = [part.path for part in parts_between(sources.log_dir, since_ms, until_ms)]
    most = None if sample is None else -(-sample // max(len(paths), 1))
    total = Replayed()
    for replayed in _each(sources, paths, (since_ms, until_ms, most), processes):
        total += replayed
    return total


def _each(sources: Sources, paths: list[Path], which: Which, processes: int) -> Iterator[Replayed]:
    if processes <= 1 or len(paths) <= 1:
        world = World(sources)
        yield from (replay_part(world, path, which) for path in paths)
        return
    # A process of its own each: TensorFlow does not survive a fork.
    with ProcessPoolExecutor(min(processes, len(paths)), get_context("spawn"), _start, (sources,)) as pool:
        yield from pool.map(_in_process, paths, repeat(which))


_world: World | None = None


def _start(sources: Sources) -> None:
    global _world  # one for each process of the pool, which loads models once
    _world = World(sources)


def _in_process(path: Path, which: Which) -> Replayed:
    assert _world is not None
    return replay_part(_world, path, which)


def replay_part(world: World, path: Path, which: Which) -> Replayed:
    """Those of one part of the archive."""
    done = Replayed()
    try:
        for said in read_decisions(path, *which):
            try:
                found = differences(Logged.of(said), world)
            except OfferRankError as e:
                done.refused[_why(e, str(said["decision_id"]))] += 1
                continue
            done.decisions += 1
            done.differing += bool(found)
            if len(done.differences) < KEPT:
                done.differences += found
    except OfferRankError as e:
        done.refused[str(e)] += 1
    return done


def _why(error: OfferRankError, decision_id: str) -> str:
    return str(error).replace(f"decision {decision_id}: ", "")
