"""Every error OfferRank raises on purpose.

    OfferRankError
    ├── InvalidRequest      the caller's mistake: answered 4xx, names the field and what was got
    ├── InvalidMarket       market.toml is wrong: names the key, the value and what was expected
    ├── InvalidChange       a change of the catalogue is wrong: names the campaign or offer, the field and what was got
    ├── CatalogueConflict   somebody else changed the same meanwhile: look again
    ├── InvalidKeys         the keys file, or what should go into it, is wrong: names the line and what was got
    ├── InvalidAddress      a Redis URL is none: says what was expected, and never a password
    ├── InvalidTrainingData a training log cannot be used: names the column and what was got
    │   └── NothingToLearn  nothing is wrong with it, and there is too little in it yet
    ├── NotBlessed          a trained model missed a gate: names it, the value and the bound; nothing was released
    │   ├── Unjudged        it missed none, and there are too few rows to judge it by
    │   └── LabelsDoubted   none was trained: new labels are far from what the release in service expects
    ├── DependencyError     something we call failed: a named fallback takes over, the decision says `degraded`
    │   ├── DependencyTimeout
    │   └── Unavailable
    └── ContractError       our bug or a bad artifact: refuse at start, no fill per request
        └── IncompleteRelease   a file of a release is not there, or not all of it: it may still be being copied

Losing an auction and having no offer to show are normal answers with a reason (domain/outcome.py), not errors.
"""

from collections.abc import Mapping
from datetime import date, time
from pathlib import Path
from typing import Final

UNSAID: Final = object()
"""What was got, where the sentence says it already."""


class OfferRankError(Exception):
    """Base of all errors raised on purpose."""


class _FieldError(OfferRankError):
    """An input that names its field, what was expected and what was got; without `got`, `expected` is the whole sentence."""

    def __init__(self, field: str, expected: str, got: object = UNSAID) -> None:
        super().__init__(f"{field}: {expected}" if got is UNSAID else f"{field}: expected {expected}, got {shown(got)}")
        self.field = field
        self.expected = expected
        self.got = got


class InvalidRequest(_FieldError):
    """A request to the HTTP API that cannot be served."""


class InvalidMarket(_FieldError):
    """A market.toml that cannot be used; `field` is the dotted key."""


class InvalidChange(_FieldError):
    """A change of the catalogue that cannot be made; `field` is the campaign or offer, and its key."""


class CatalogueConflict(OfferRankError):
    """A change that was made by what is no longer there; nothing of it was."""


class InvalidKeys(_FieldError):
    """A keys file that cannot be used, or a key that cannot go into one; `field` is the file and line, or the key's part."""


class InvalidAddress(OfferRankError, ValueError):
    """Text that is no Redis URL; a ValueError, so that settings name their variable."""


class InvalidTrainingData(_FieldError):
    """A training log that cannot be used; `field` is the file or the column."""


class NothingToLearn(InvalidTrainingData):
    """A training log that is right as far as it goes, and does not go far enough yet."""


class NotBlessed(OfferRankError):
    """A trained model missed a gate; nothing was released. `failures` has one line per gate: what, value and bound."""

    report: Path | None
    """None where no model was trained."""

    def __init__(self, failures: tuple[str, ...], report: Path) -> None:
        super().__init__(f"the model was not released: {'; '.join(failures)}; report: {report}")
        self.failures = failures
        self.report = report


class Unjudged(NotBlessed):
    """A trained model that nothing is held against: there were too few rows to judge it by, and more may come."""


class LabelsDoubted(NotBlessed):
    """Nothing was learned: the release in service does not believe new labels. `failures` has a line per task and time."""

    def __init__(self, failures: tuple[str, ...]) -> None:
        OfferRankError.__init__(self, f"these labels are not learned from: {'; '.join(failures)}")
        self.failures = failures
        self.report = None


class DependencyError(OfferRankError):
    """A process we depend on failed; `dependency` is its name in `degraded`."""

    def __init__(self, dependency: str, detail: str) -> None:
        super().__init__(f"{dependency}: {detail}")
        self.dependency = dependency
        self.detail = detail


class DependencyTimeout(DependencyError):
    """No answer within the stage's share of the deadline."""


class Unavailable(DependencyError):
    """Refused, disconnected, or not started."""


class NoSuchDecision(OfferRankError):
    """No decision of that id is in the log."""


class ContractError(OfferRankError):
    """Two parts of OfferRank disagree, or an artifact is not what it says it is."""


class IncompleteRelease(ContractError):
    """A file of a release is not there, or not all of it; names it. It may still be being copied, so look again."""


def shown(value: object, longest: int = 120) -> str:
    """A value as the user wrote it, cut short: strings in quotes, `true`, lists in brackets, `a table` for a table."""
    text = _shown(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return f"[{', '.join(_shown(v) for v in value)}]"
    return "a table" if isinstance(value, Mapping) else repr(value)
