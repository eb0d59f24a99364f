"""All that is known of one hour of one release."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from domain.errors import ContractError
from monitoring.summaries.calibration import Calibration
from monitoring.summaries.flows import Flows
from monitoring.summaries.numbers import Numbers
from monitoring.summaries.series import Series, Slice
from monitoring.summaries.values import Values

Summary = Numbers | Values | Calibration | Flows
_KINDS: Mapping[bytes, type[Summary]] = {b"n": Numbers, b"v": Values, b"c": Calibration, b"f": Flows}


@dataclass(frozen=True, slots=True)
class HourSummary:
    """Summaries of the traffic that one release decided in one hour.

    An "hour" is the 24th part of a budget day (`policy.day_length_s`); decisions belong to the hour of their time, events and
    labels to that of the decision's or, where it is unknown, their own.
    """

    hour_ms: int
    """When it begins."""
    release: str
    """`cold-start` for none; "" where it is unknown."""
    by: Mapping[tuple[Slice, Series], Summary] = field(default_factory=dict)

    def merge(self, other: "HourSummary") -> "HourSummary":
        """Of both together; the other may be of another hour, as where hours are joined to days."""
        by = dict(self.by)
        for key, summary in other.by.items():
            by[key] = merged(by[key], summary) if key in by else summary
        return HourSummary(self.hour_ms, self.release, by)


def merged(one: Summary, other: Summary) -> Summary:
    """Of two summaries of the same series.

    Raises:
      ContractError: they are of different kinds, as of a feature that has become a number.
    """
    match one, other:
        case (Numbers(), Numbers()) | (Values(), Values()) | (Calibration(), Calibration()) | (Flows(), Flows()):
            return one.merge(other)  # type: ignore[arg-type]
    raise ContractError(f"summary: expected another {type(one).__name__} to merge with, got {type(other).__name__}")


def from_bytes(text: bytes) -> Summary:
    """Of any kind.

    Raises:
      ContractError: it is of none.
    """
    if (kind := _KINDS.get(text[:1])) is None:
        raise ContractError(f"summary: expected one of the kinds {b''.join(_KINDS)!r}, got {text[:1]!r}")
    return kind.from_bytes(text)
