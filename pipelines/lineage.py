"""What a release goes back to: trainings, data, gates, run; and which decisions taught it. Reads manifests, no TensorFlow."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from domain.errors import ContractError, OfferRankError
from features.market import Market, load_market
from models import release
from models.evaluation import EvaluationReport
from models.release import FinalLabels, Manifest, read_manifest, versions
from pipelines.examples import matures_s
from pipelines.freshness import learned_through_ms

Kind = Literal["full", "incremental", "recalibration"]


@dataclass(frozen=True, slots=True)
class Learned:
    """When the decisions were made, in ms, from whose labels of one kind a training may have learned; both ends included."""

    from_ms: int
    through_ms: int

    def holds(self, at_ms: int) -> bool:
        """Whether a decision of that time is among them."""
        return self.from_ms <= at_ms <= self.through_ms


@dataclass(frozen=True, slots=True)
class Training:
    """What brought one release, by its manifest."""

    version: int
    kind: Kind
    made: Manifest
    parent: int | None
    """The release that it went on from."""
    learned: Mapping[str, Learned]
    """Label -> what it took in beyond what its parent had; nothing of rows from elsewhere, or in a recalibration."""

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        made = self.made
        return {
            "release": self.version,
            "kind": self.kind,
            "created_ms": made.created_ms,
            "went_on_from": self.parent,
            "full_ms": made.full_ms or made.created_ms,
            "rows": made.rows,
            "trained_through_ms": made.trained_through_ms,
            "labels": made.labels and made.labels.model_dump(),
            "held_out": made.held_out,
            "learned": {name: {"from_ms": s.from_ms, "through_ms": s.through_ms} for name, s in self.learned.items()},
        }


class Releases:
    """A folder of releases as its manifests have it; what of it cannot be read is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifests: dict[int, Manifest] = {}
        self.unreadable: dict[int, str] = {}
        for version in versions(folder):
            try:
                self.manifests[version] = read_manifest(folder / str(version))
            except ContractError as e:
                self.unreadable[version] = str(e)

    def training(self, version: int) -> Training:
        """How a release came about.

        Raises:
          OfferRankError: there is none of that version, or its manifest cannot be read.
        """
        if version in self.unreadable:
            raise OfferRankError(self.unreadable[version])
        if version not in self.manifests:
            raise OfferRankError(f"{self.folder}: expected a release {version}, found {_listed(list(self.manifests))}")
        made = self.manifests[version]
        if made.recalibrated_from is not None:
            return Training(version, "recalibration", made, made.recalibrated_from, {})
        parent = made.warm_from
        before = self.manifests[parent].labels if parent in self.manifests else None
        kind: Kind = "full" if parent is None else "incremental"
        return Training(version, kind, made, parent, self._learned(made, parent, before))

    def line(self, version: int) -> Iterator[Training]:
        """The release and all that it goes back to, up to its full training, as far as they are there."""
        at: int | None = version
        while at is not None and (at == version or at in self.manifests):
            one = self.training(at)
            yield one
            at = one.parent if one.parent is None or one.parent < at else None

    def successors(self, version: int) -> list[int]:
        """Releases that go back to this one."""
        return [v for v in self.manifests if v > version and version in {one.version for one in self.line(v)}]

    def market_of(self, version: int) -> Market | None:
        """The market as it was when the release was trained; None where today's code cannot read it."""
        try:
            return load_market(self.folder / str(version) / release.MARKET)
        except OfferRankError:
            return None

    def gates_of(self, version: int) -> list[dict[str, Any]]:
        """Those it passed, or that were not judged."""
        try:
            report = EvaluationReport.model_validate_json((self.folder / str(version) / release.EVALUATION).read_bytes())
        except (OSError, ValueError):
            return []
        return [gate.model_dump() for gate in report.gates]

    def _learned(self, made: Manifest, parent: int | None, before: FinalLabels | None) -> dict[str, Learned]:
        market = self.market_of(made.version)
        if market is None:
            return {}
        since_ms = dict.fromkeys((t.label for t in market.tasks), 0)
        if parent is not None and made.labels is None and parent in self.manifests:
            since_ms = dict.fromkeys(since_ms, (self.manifests[parent].trained_through_ms or 0) + 1)
        elif before is not None and not (made.labels and made.labels.importance):
            since_ms = {label: before.learned_ms(label) - 1000 * s + 1 for label, s in matures_s(market, before).items()}
        through_ms = learned_through_ms(market, made)
        return {label: Learned(max(since_ms.get(label, 0), 0), ms) for label, ms in through_ms.items()}


def _listed(found: list[int]) -> str:
    return ", ".join(map(str, found[-5:])) if found else "none"
