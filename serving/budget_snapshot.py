"""All budgets of a day in one string: the pacer writes it, gateways read it, and neither asks Redis for each campaign."""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from domain.errors import ContractError

_HEADER = struct.Struct("<4sqqq32s32s")
_MAGIC = b"ORB1"
STAMP_BYTES = 20
"""Of the beginning, which tell whether there is a new one: magic, day and time."""


def digest(campaign_ids: Sequence[str]) -> bytes:
    """Stands for a list of campaigns in its order, 32 bytes."""
    return hashlib.sha256("\n".join(campaign_ids).encode()).digest()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """C campaigns: room_micros [C] int64 (at least 0, meaningless without a budget), multiplier [C] float32, in [0, 1]."""

    day: int
    written_ms: int
    """By the clock of Redis; tells two snapshots apart."""
    market_digest: bytes
    """Of the market file that the pacer has, 32 bytes."""
    campaigns_digest: bytes
    """`digest` of the ids, so that a reader with the same list need not compare them."""
    room_micros: NDArray[np.int64]
    multiplier: NDArray[np.float32]
    ids: bytes
    """The campaigns' ids, by lines."""

    @property
    def campaign_ids(self) -> list[str]:
        """In the order of the arrays."""
        return self.ids.decode().split("\n") if self.ids else []

    def pack(self) -> bytes:
        """As it is stored: header, room, multipliers, ids; little-endian."""
        head = _HEADER.pack(_MAGIC, self.day, self.written_ms, len(self.room_micros), self.market_digest, self.campaigns_digest)
        return head + self.room_micros.astype("<i8").tobytes() + self.multiplier.astype("<f4").tobytes() + self.ids

    @classmethod
    def parse(cls, stored: bytes) -> Self:
        """What `pack` wrote.

        Raises:
          ContractError: it is none.
        """
        if len(stored) < _HEADER.size or not stored.startswith(_MAGIC):
            raise ContractError(f"budgets: expected a snapshot, got {stored[:16]!r}")
        _, day, written_ms, n, market, campaigns = _HEADER.unpack_from(stored)
        at, end = _HEADER.size, _HEADER.size + 12 * n
        if n < 0 or len(stored) < end:
            raise ContractError(f"budgets: expected a snapshot of {n} campaigns, got {len(stored)} bytes")
        room = np.frombuffer(stored, "<i8", n, at)
        return cls(day, written_ms, market, campaigns, room, np.frombuffer(stored, "<f4", n, at + 8 * n), stored[end:])
