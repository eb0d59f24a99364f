"""How much of what a key asks for is ever shown: who never shows gets little patience, and money held for less time."""

from collections import deque
from dataclasses import dataclass, field

LAG_S = 10.0
"""An offer counts as asked for only so much later, when its impression has had time to come."""
PRIOR = 100.0
"""Offers that a key is taken to have shown before its first."""
HALF_LIFE_S = 600.0


@dataclass(slots=True)
class _Key:
    at_s: float
    asked: float = PRIOR
    shown: float = PRIOR
    young: deque[tuple[float, int]] = field(default_factory=deque)

    def advance(self, now_s: float) -> None:
        """Forgets half in HALF_LIFE_S, down to the prior, and counts what has become old enough."""
        kept = 0.5 ** ((now_s - self.at_s) / HALF_LIFE_S)
        self.asked = PRIOR + (self.asked - PRIOR) * kept
        self.shown = PRIOR + (self.shown - PRIOR) * kept
        self.at_s = now_s
        while self.young and self.young[0][0] <= now_s - LAG_S:
            self.asked += self.young.popleft()[1]


class Patience:
    """Shown offers per offer asked for, by the name of the key that asked, as far as this gateway has seen both.

    Load balancers send pages and their impressions to any gateway: each sees a like part of both, so the share is right.
    In memory, one small record per key; counts start anew with the process.
    """

    def __init__(self) -> None:
        self._keys: dict[str, _Key] = {}

    def asked(self, key: str, offers: int, now_s: float) -> None:
        """A page with so many offers was answered to a key."""
        young = self._of(key, now_s).young
        if young and now_s - young[-1][0] < LAG_S / 10:
            young[-1] = young[-1][0], young[-1][1] + offers
        else:
            young.append((now_s, offers))

    def shown(self, key: str, now_s: float) -> None:
        """An impression was reported of a page that the key had asked for."""
        self._of(key, now_s).shown += 1

    def of(self, key: str, now_s: float) -> float:
        """(shown + prior) / (asked + prior), in (0, 1]; 1 for a key that has not asked yet."""
        if key not in self._keys:
            return 1.0
        record = self._of(key, now_s)
        return min(record.shown / record.asked, 1.0)

    def _of(self, key: str, now_s: float) -> _Key:
        record = self._keys.get(key)
        if record is None:
            record = self._keys[key] = _Key(now_s)
        record.advance(now_s)
        return record
