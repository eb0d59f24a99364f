"""What one case came to, as a row of the table and of `--json`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One case. What a case does not measure is None.

    budget_micros may be spent, charged_micros was; of `sellable` slots `sold` were; `lost` acknowledged events and `doubled`
    charges; recovery_s from the end of a fault to the first decision that is whole again.
    """

    case: str
    ok: bool
    budget_micros: int | None = None
    charged_micros: int | None = None
    sellable: int | None = None
    sold: int | None = None
    lost: int | None = None
    doubled: int | None = None
    recovery_s: float | None = None
    said: str = ""
    """What the columns cannot say, in a few words."""
