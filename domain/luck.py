"""The draws of one decision, all from one number, so that they can be drawn again."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

SEEDS = 2**32


@dataclass(frozen=True)
class Luck:
    """Of one decision; seed in [0, SEEDS)."""

    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """The next one."""
        return cls(int(rng.integers(SEEDS)))

    def again(self) -> Self:
        """The same draws, from the first."""
        return replace(self)

    @property
    def coin(self) -> float:
        """Uniform in [0, 1)."""
        return self.seed / SEEDS

    @cached_property
    def rng(self) -> np.random.Generator:
        """For all other draws; made when it is needed, which takes longer than most draws."""
        return np.random.Generator(np.random.PCG64(self.seed))
