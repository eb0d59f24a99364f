"""How often something may happen: one number per name, and a bound on names."""

from collections import OrderedDict

BURST_S = 5.0
"""How many seconds' worth may come at once."""
MAX_NAMES = 100_000


class RateLimit:
    """A token bucket per name, kept as the time at which the bucket will be full again (GCRA): constant memory per name.

    When there are too many names, the one that was quiet for longest is forgotten, which gives it a full bucket.
    Source: ITU-T I.371, the generic cell rate algorithm.
    """

    def __init__(self, max_names: int = MAX_NAMES) -> None:
        self._full_s: OrderedDict[str, float] = OrderedDict()
        self._max_names = max_names

    def __len__(self) -> int:
        return len(self._full_s)

    def wait_s(self, name: str, per_second: float, now_s: float) -> float:
        """0 if it may happen now, and it then counts; else the seconds after which it may, and nothing counts.

        Args:
          now_s: of a clock that never goes back.
        """
        full_s = max(self._full_s.get(name, now_s), now_s)
        wait_s = full_s - now_s - BURST_S
        if wait_s > 0:
            return wait_s
        self._full_s[name] = full_s + 1 / per_second
        self._full_s.move_to_end(name)
        if len(self._full_s) > self._max_names:
            self._full_s.popitem(last=False)
        return 0.0
