"""Both sides of a sample, and where they differ."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.market import Market
from features.spec import FeatureSpec
from models.calibration import Calibrator
from models.release import Release, calibrated_column
from pipelines.calibration import calibrated
from pipelines.skew.causes import suspicions
from pipelines.skew.ranked import Claim, Ranked, shown_value, sizes
from pipelines.skew.search import Explained, Model, Search

TOLERANCE = 1e-5
Value = str | float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One value of one decision that training would have had otherwise."""

    kind: Literal["feature", "probability"]
    name: str
    """Of the feature, or the task."""
    release: int
    decision_id: str
    time_ms: int
    offer_id: str
    """Of a request's feature, one of those that were ranked by it."""
    served: Value
    recomputed: Value
    size: float
    """How far apart they are; 1 for text, and for something and nothing."""
    why: str
    """What is wrong, as far as that was found."""


class Comparison:
    """Of what one release ranked."""

    def __init__(
        self, market: Market, release: Release, rows: Ranked, model: Model, calibrators: Mapping[str, Calibrator]
    ) -> None:
        self._market, self._release, self._rows, self._model = market, release, rows, model
        own = Calibrator(tasks={t.name: release.calibrator.tasks[t.name] for t in market.served_tasks})
        self._p = calibrated(market, own, rows.training | model.raw(rows.training))
        self._off = self._differing()
        self._apart = self._features_apart()
        self._explained: dict[int, Explained] = {}
        if self._off:
            search = Search(market, model, own, rows, suspicions(market, rows.training, calibrators))
            self._explained = search.explain(self._off)

    def differences(self) -> list[Difference]:
        """All of them: what is assembled otherwise, then what the probabilities tell, in the order of decisions."""
        found = [*self._assembled()]
        for decision, claims in self._off.items():
            cause = self._explained.get(decision)
            if cause is not None and cause.suspicion.features:
                found += self._blamed(cause)
            else:
                found += self._probabilities(claims, "" if cause is None else cause.suspicion.said)
        return found

    def edited(self) -> list[str]:
        """Offers whose features differ where the probabilities are right: used as logged, edited since."""
        right = ~np.isin(self._rows.decision, list(self._off))
        rows = (np.flatnonzero((self._apart[f.name] > TOLERANCE) & right) for f in self._market.offer_features)
        return sorted({self._rows.offer_ids[row] for some in rows for row in some})

    def _differing(self) -> dict[int, list[Claim]]:
        """Number of each decision with a probability that differs -> all of its, those that differ first."""
        of_decision: dict[int, list[Claim]] = defaultdict(list)
        for claim in self._rows.claims:
            of_decision[int(self._rows.decision[claim.row])].append(claim)
        return {
            decision: sorted(claims, key=lambda c: not self._is_off(c))
            for decision, claims in sorted(of_decision.items())
            if any(map(self._is_off, claims))
        }

    def _is_off(self, claim: Claim) -> bool:
        return not abs(self._p[calibrated_column(claim.task)][claim.row] - claim.logged) <= TOLERANCE

    def _features_apart(self) -> dict[str, NDArray[np.float64]]:
        """Feature -> [R], as it comes or as Transform encodes it, whichever is further apart."""
        features, training, serving = self._market.features, self._rows.training, self._rows.serving
        apart = sizes(features, serving, training)
        if little := [f.name for f in features if 0 < apart[f.name].max() <= TOLERANCE]:
            one, other = self._model.encoded(serving), self._model.encoded(training)
            for name in little:
                columns = [c for c in one if c.startswith(f"{name}:")]
                encoded = [np.abs(one[c].astype(np.float64) - other[c]).reshape(len(one[c]), -1).max(axis=1) for c in columns]
                apart[name] = np.max([apart[name], *encoded], axis=0)
        return apart

    def _assembled(self) -> Iterator[Difference]:
        """Features that the gateway's code makes another tensor of than training's does, from the same log.

        Of an offer, only if the probabilities differ, too, and nothing else explains that: else it was edited since.
        """
        doubtful = [decision for decision in self._off if decision not in self._explained]
        for f in self._market.features:
            differ = self._apart[f.name] > TOLERANCE
            if f.source == "offer":
                differ &= np.isin(self._rows.decision, doubtful)
            rows = np.flatnonzero(differ)
            for row in rows[np.unique(self._rows.decision[rows], return_index=True)[1]].tolist():
                served = shown_value(self._rows.serving, f, row)
                yield self._feature(f, row, served, float(self._apart[f.name][row]), "assembled otherwise")

    def _blamed(self, cause: Explained) -> Iterator[Difference]:
        """Features that must have had other values, or the logged probabilities would not have come out."""
        training = {name: column[cause.rows] for name, column in self._rows.training.items()}
        for f in self._market.features:
            if f.name in cause.suspicion.features:
                apart = sizes([f], training | cause.change, training)[f.name]
                at = int(apart.argmax())
                if apart[at] > 0:
                    served = shown_value(training | cause.change, f, at)
                    yield self._feature(f, int(cause.rows[at]), served, float(apart[at]), cause.suspicion.said)

    def _probabilities(self, claims: list[Claim], why: str) -> Iterator[Difference]:
        """One per offer and task, that of the slot if both differ."""
        off = {(c.row, c.task): c for c in sorted(filter(self._is_off, claims), key=lambda c: c.where == "slot")}
        for claim in off.values():
            recomputed = float(self._p[calibrated_column(claim.task)][claim.row])
            yield self._difference(
                "probability", claim.task, claim.row, claim.logged, recomputed, abs(claim.logged - recomputed), why
            )

    def _feature(self, f: FeatureSpec, row: int, served: Value, size: float, why: str) -> Difference:
        return self._difference("feature", f.name, row, served, shown_value(self._rows.training, f, row), size, why)

    def _difference(
        self,
        kind: Literal["feature", "probability"],
        name: str,
        row: int,
        served: Value,
        recomputed: Value,
        size: float,
        why: str,
    ) -> Difference:
        rows, decision = self._rows, int(self._rows.decision[row])
        return Difference(
            kind=kind,
            name=name,
            release=self._release.version,
            decision_id=rows.decision_ids[decision],
            time_ms=int(rows.time_ms[decision]),
            offer_id=rows.offer_ids[row],
            served=served,
            recomputed=recomputed,
            size=size,
            why=why,
        )
