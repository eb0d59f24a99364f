"""What can be broken between simulated shoppers and the gateway while they run, to see whether the monitor names it.

A fault changes what the gateway is told, never the truth: who buys, what they bought and how they react stays as the seed has it.
`offerrank fault inject` writes the name of a fault into a file that the simulation follows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from domain.campaign import Value
from domain.errors import OfferRankError
from monitoring.fault_switch import FaultSwitch
from simulation.shoppers import Purchase

Attributes = dict[str, Value]
CLICK_AT_ONCE_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break the traffic."""

    name: str
    said: str
    """What an operator should read."""
    tell: Callable[[Attributes, Attributes], None] | None = None
    """Changes what the gateway is told of a purchase, in place: of its shopper, and of its context."""
    told_wrong: float = 1.0
    """Share of the purchases that `tell` changes."""
    lost_beacons: float = 0.0
    """Share of the pages whose impressions are not reported."""
    robots: float = 0.0
    """Share of the pages that a robot asks for, which clicks on all of it at once."""

    def told(self, purchase: Purchase) -> Purchase:
        """The purchase as the gateway hears of it."""
        if self.tell is None or not _within(self.told_wrong, purchase):
            return purchase
        shopper, context = dict(purchase.shopper), dict(purchase.context)
        self.tell(shopper, context)
        return replace(purchase, shopper=shopper, context=context)

    def loses_beacons(self, purchase: Purchase) -> bool:
        """Whether the page's impressions are not reported."""
        return _within(self.lost_beacons, purchase)

    def is_robot(self, purchase: Purchase) -> bool:
        """Whether no shopper asks for the page."""
        return _within(self.robots, purchase)


def _within(share: float, purchase: Purchase) -> bool:
    """The same purchases with every run of a seed."""
    return purchase.index % 100 < 100 * share


def _drop_amount_on_phones(shopper: Attributes, context: Attributes) -> None:
    if shopper.get("device") == "mobile":
        context.pop("amount", None)


def _cents_in_one_country(shopper: Attributes, context: Attributes) -> None:
    if shopper.get("country") == "NL" and isinstance(amount := context.get("amount"), float):
        context["amount"] = amount * 100


def _new_payment_type(_: Attributes, context: Attributes) -> None:
    context["payment_type"] = "crypto"


def _swap(_: Attributes, context: Attributes) -> None:
    context["payment_type"], context["basket_category"] = context["basket_category"], context["payment_type"]


def _one_country(shopper: Attributes, _: Attributes) -> None:
    shopper["country"] = "NL"


FAULTS: Final[Mapping[str, Fault]] = {
    fault.name: fault
    for fault in (
        Fault("feature-missing", "pages on mobile devices no longer say the amount", _drop_amount_on_phones),
        Fault("unit-change", "pages in NL say the amount in cents", _cents_in_one_country),
        Fault(
            "new-category", "a fifth of the purchases is paid with crypto, which nobody knows", _new_payment_type, told_wrong=0.2
        ),
        Fault("swapped-columns", "payment type and basket category have changed places", _swap),
        Fault("mix-shifted", "half of the traffic comes from NL all of a sudden", _one_country, told_wrong=0.5),
        Fault("beacons-lost", "four of five pages report no impressions", lost_beacons=0.8),
        Fault("robots", "a fifth of the pages is asked for by robots, which click on everything at once", robots=0.2),
    )
}
NONE: Final = Fault("none", "nothing is broken")


def listed() -> dict[str, str]:
    """What can be broken, by name."""
    return {fault.name: fault.said for fault in FAULTS.values()}


class FaultFile:
    """The fault at work, as a file says: looked at with every purchase, so that it begins and ends while shoppers run."""

    def __init__(self, path: Path | None = None) -> None:
        self._switch = FaultSwitch(path) if path else None

    @property
    def fault(self) -> Fault:
        """Without a file, or with one that names no fault, nothing is broken."""
        return FAULTS.get(self._switch.at_work or "", NONE) if self._switch else NONE


def inject(path: Path, name: str) -> Fault:
    """Breaks what a simulation that follows `path` does from now on.

    Raises:
      OfferRankError: there is no such fault, or the file cannot be written.
    """
    if name not in FAULTS:
        raise OfferRankError(f"fault: expected one of {', '.join(FAULTS)}, got {name!r}")
    FaultSwitch(path).inject(name)
    return FAULTS[name]


def clear(path: Path) -> None:
    """Mends it."""
    FaultSwitch(path).clear()
