"""Replays all decisions of a time, part by part of the archive, over as many processes as are given."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from domain.errors import OfferRankError
from serving.replay.differences import Difference, differences
from serving.replay.logged import Logged, parts_between, read_decisions
from serving.replay.world import Sources, World

KEPT = 200
"""Differences that are told of one part."""


Result = TypeVar("Result")
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
    paths, which = parts_and(sources, since_ms, until_ms, sample)
    total = Replayed()
    for replayed in over_parts(sources, paths, partial(replay_part, which=which), processes):
        total += replayed
    return total


def parts_and(sources: Sources, since_ms: int, until_ms: float, sample: int | None) -> tuple[list[Path], Which]:
    """Parts of the archive, and which of their decisions."""
    paths = [part.path for part in parts_between(sources.log_dir, since_ms, until_ms)]
    return paths, (since_ms, until_ms, None if sample is None else -(-sample // max(len(paths), 1)))


def over_parts(
    sources: Sources, paths: list[Path], work: Callable[[World, Path], Result], processes: int = 1
) -> Iterator[Result]:
    """What comes of each part of the archive, in as many processes as there are; `work` can be pickled."""
    if processes <= 1 or len(paths) <= 1:
        world = World(sources)
        yield from (work(world, path) for path in paths)
        return
    # A process of its own each: TensorFlow does not survive a fork.
    with ProcessPoolExecutor(min(processes, len(paths)), get_context("spawn"), _start, (sources,)) as pool:
        yield from pool.map(_in_process, repeat(work), paths)


_world: World | None = None


def _start(sources: Sources) -> None:
    global _world  # one for each process of the pool, which loads models once
    _world = World(sources)


def _in_process(work: Callable[[World, Path], Result], path: Path) -> Result:
    assert _world is not None
    return work(_world, path)


def replay_part(world: World, path: Path, which: Which) -> Replayed:
    """Those of one part of the archive."""
    done = Replayed()
    try:
        for said in read_decisions(path, *which):
            try:
                found = differences(Logged.of(said), world)
            except OfferRankError as e:
                done.refused[why(e, str(said["decision_id"]))] += 1
                continue
            done.decisions += 1
            done.differing += bool(found)
            if len(done.differences) < KEPT:
                done.differences += found
    except OfferRankError as e:
        done.refused[str(e)] += 1
    return done


def why(error: OfferRankError, decision_id: str) -> str:
    """A reason that many decisions may have."""
    return str(error).replace(f"decision {decision_id}: ", "")
