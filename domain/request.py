"""A decision request after validation: typed, with every feature present."""

from dataclasses import dataclass

from domain.campaign import FeatureValue


@dataclass(frozen=True, slots=True)
class Blocked:
    """What must not be on a page, by name; names that nobody has block nobody."""

    advertisers: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.advertisers or self.categories or self.offers)

    def __or__(self, other: "Blocked") -> "Blocked":
        return Blocked(self.advertisers + other.advertisers, self.categories + other.categories, self.offers + other.offers)


NOTHING_BLOCKED = Blocked()


@dataclass(frozen=True, slots=True)
class Placement:
    """A place on the page with room for `count` offers."""

    name: str
    count: int
    floor_ecpm_micros: int


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """One confirmation page asking for offers."""

    decision_id: str
    shopper_key: str
    features: dict[str, FeatureValue]
    """Shopper and context features by name; absent ones already hold their default."""
    placements: tuple[Placement, ...]
    test: bool
    """Never billed, never logged."""
    explain: bool
    knows_shopper: bool = True
    """Whether the request brought the shopper's key, rather than got a fresh one."""
    asked_by: str = ""
    """Name of the key that asks; empty without one."""
    patience: float = 1.0
    """In (0, 1]: share of what the key asked for lately that was shown. Whoever never shows has money held for less time."""
    time_share: float = 1.0
    """In (0, 1]: what each stage has of its deadline, see `Deadlines.share_within`."""
    blocked: Blocked = NOTHING_BLOCKED
    """By the request; the market and its placements may block more."""
    invalid: str = ""
    """Why it is not a shopper who asks, as `domain.traffic.InvalidTraffic` has it; else empty."""

    @property
    def reserves(self) -> bool:
        """Whether money and caps are reserved for it: not for tests, and not for robots."""
        return not self.test and not self.invalid

    @property
    def n_slots(self) -> int:
        """Slots over all placements, in page order."""
        return sum(p.count for p in self.placements)

    def impression_id(self, slot: int) -> str:
        """Names what is shown in a slot of this page; billed once, even if the page is asked for twice."""
        return f"{self.decision_id}-{slot}"
