"""Every error OfferRank raises on purpose.

    OfferRankError
    ├── InvalidRequest      the caller's mistake: answered 4xx, names the field and what was got
    ├── InvalidMarket       market.toml is wrong: names the key, the value and what was expected
    ├── InvalidTrainingData a training log cannot be used: names the column and what was got
    ├── NotBlessed          a trained model missed a gate: names it, the value and the bound; nothing was released
    ├── DependencyError     something we call failed: a named fallback takes over, the decision says `degraded`
    │   ├── DependencyTimeout
    │   └── Unavailable
    └── ContractError       our bug or a bad artifact: refuse at start, no fill per request

Losing an auction and having no offer to show are normal answers with a reason (domain/outcome.py), not errors.
"""

from pathlib import Path


class OfferRankError(Exception):
    """Base of all errors raised on purpose."""


class _FieldError(OfferRankError):
    """An input that names its field, what was expected and what was got."""

    def __init__(self, field: str, expected: str, got: object) -> None:
        shown = repr(got)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        super().__init__(f"{field}: expected {expected}, got {shown}")
        self.field = field
        self.expected = expected
        self.got = got


class InvalidRequest(_FieldError):
    """A request to the HTTP API that cannot be served."""


class InvalidMarket(_FieldError):
    """A market.toml that cannot be used; `field` is the dotted key."""


class InvalidTrainingData(_FieldError):
    """A training log that cannot be used; `field` is the file or the column."""


class NotBlessed(OfferRankError):
    """A trained model missed a gate; nothing was released. `failures` has one line per gate: what, value and bound."""

    def __init__(self, failures: tuple[str, ...], report: Path) -> None:
        super().__init__(f"the model was not released: {'; '.join(failures)}; report: {report}")
        self.failures = failures
        self.report = report


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


class ContractError(OfferRankError):
    """Two parts of OfferRank disagree, or an artifact is not what it says it is."""
