"""Holds what serving logged against what training makes of it, for a sample of a release's decisions."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from domain.errors import ContractError
from features.market import Market
from models.calibration import Calibrator
from models.release import Release
from pipelines.skew.comparison import Comparison, Difference
from pipelines.skew.ranked import ranked
from pipelines.skew.sample import sample_decisions
from pipelines.skew.search import Model


class NothingRanked(ContractError):
    """The log has no decision of the release in the time asked for."""


@dataclass(frozen=True, slots=True)
class Skew:
    """What came of one sample."""

    release: int
    first_ms: int
    last_ms: int
    """Times of the decisions."""
    decisions: int
    offers: int
    """Pairs of a decision and an offer."""
    features: int
    """Values that were compared: of each feature, one per decision or offer."""
    probabilities: int
    differences: tuple[Difference, ...]
    edited: tuple[str, ...]
    """Offers whose features the market file has otherwise than they were when they were ranked; nothing is wrong with that."""
    left_out: int
    """Probabilities of offers that the market does not have, or not in that campaign any more, and of candidates that were not
    shown where nothing tells what their features were."""
    unreadable: tuple[str, ...]
    """Parts of the archive that could not be read, and why."""

    @property
    def groups(self) -> list[tuple[Difference, int]]:
        """Per feature or task, and reason: the largest difference, and in how many decisions; features first."""
        most: dict[tuple[str, str, str], Difference] = {}
        decisions: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        for d in self.differences:
            key = (d.kind, d.name, d.why)
            decisions[key].add(d.decision_id)
            if key not in most or d.size > most[key].size:
                most[key] = d
        found = [(most[key], len(ids)) for key, ids in decisions.items()]
        return sorted(found, key=lambda g: (g[0].kind, -g[1], -g[0].size, g[0].name))


def check_skew(
    market: Market,
    release: Release,
    log_dir: Path,
    since_ms: int,
    until_ms: float,
    most: int,
    calibrators: Mapping[str, Calibrator] | None = None,
    model: Model | None = None,
) -> Skew:
    """Recomputes up to `most` decisions that the release ranked between two times.

    Args:
      market: one that the release can serve; features of offers are compared with its.
      calibrators: that serving may have used instead of the release's, by what they are.
      model: that of the release, where it is loaded.
    Raises:
      NothingRanked: there is none.
      ContractError: the release cannot be computed with, or not for this market.
      InvalidTrainingData: training refuses a value of the log; names the feature.
    """
    release.compatible_with(market)
    sample = sample_decisions(market, log_dir, release.version, since_ms, until_ms, most)
    if not len(sample.decisions):
        unreadable = f"; not read: {'; '.join(sample.unreadable)}" if sample.unreadable else ""
        raise NothingRanked(f"{log_dir}: expected decisions that release {release.version} ranked, found none{unreadable}")
    rows = ranked(market, sample.decisions)
    if not len(rows.decision):
        raise NothingRanked(f"{log_dir}: the {len(sample.decisions)} decisions of release {release.version} ranked no offer")
    if model is None:
        from pipelines.skew.recompute import Recomputer  # TensorFlow takes seconds: only for what can be recomputed

        model = Recomputer(market, release.path)
    comparison = Comparison(market, release, rows, model, calibrators or {})
    offers = int((rows.shown & rows.in_catalogue).sum())
    return Skew(
        release=release.version,
        first_ms=int(rows.time_ms.min()),
        last_ms=int(rows.time_ms.max()),
        decisions=len(set(rows.decision.tolist())),
        offers=len(rows.decision),
        features=len(market.request_features) * len(set(rows.decision.tolist())) + len(market.offer_features) * offers,
        probabilities=len(rows.claims),
        differences=tuple(comparison.differences()),
        edited=tuple(comparison.edited()),
        left_out=rows.left_out,
        unreadable=sample.unreadable,
    )
