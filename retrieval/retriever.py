"""Candidates for one request, from all sources."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.candidates import Candidates, Source
from domain.luck import Luck
from retrieval.blend import blend, whole
from retrieval.catalogue import Catalogue
from retrieval.eligibility import ELIGIBLE
from retrieval.index import OfferIndex
from retrieval.sources.ann import AnnSource
from retrieval.sources.new import draw, new_offers
from retrieval.sources.popular import popular_order


@dataclass(frozen=True, slots=True)
class Retriever:
    """The sources of one release over one catalogue; built when a release is loaded, then only read."""

    catalogue: Catalogue
    max_candidates: int
    ann: AnnSource | None
    """None before the first release."""
    popular: NDArray[np.int32]
    new: NDArray[np.int32]

    @classmethod
    def of(
        cls, catalogue: Catalogue, index: OfferIndex | None, prior_value: NDArray[np.float64], max_candidates: int
    ) -> "Retriever":
        """Sources for a release's index, or for none.

        Args:
          prior_value: [N] worth of an impression of each offer before anything is known of the shopper.
        """
        ann = None if index is None else AnnSource.of(index, catalogue)
        return cls(
            catalogue=catalogue,
            max_candidates=max_candidates,
            ann=ann,
            popular=popular_order(prior_value, catalogue.advertiser),
            new=new_offers(len(catalogue), np.empty(0, dtype=np.int32) if ann is None else ann.catalogue_position),
        )

    @property
    def needs_query(self) -> bool:
        """Whether a query embedding is of use: not without an index, nor where all offers are ranked anyway."""
        return self.ann is not None and len(self.catalogue) > self.max_candidates

    def candidates(self, query: NDArray[np.float32] | None, verdicts: NDArray[np.int16], luck: Luck) -> Candidates:
        """At most `max_candidates` offers, each once.

        The nearest offers are looked up blindly and may turn out ineligible; the other sources offer eligible campaigns only,
        so that narrow targeting does not leave a page empty.

        Args:
          query: [D] of length 1; None where it could not be had, and the other sources fill the pool.
          verdicts: [C] from `retrieval.eligibility.campaign_verdicts`.
        """
        if len(self.catalogue) <= self.max_candidates:
            return whole(len(self.catalogue))
        k, new = self.max_candidates, self._open(self.new, verdicts)
        found = {
            Source.POPULAR: self._first_open(self.popular, verdicts, k),
            Source.NEW: draw(new, k, luck.rng) if len(new) else new,
        }
        if query is not None and self.ann is not None:
            found[Source.ANN] = self.ann.nearest(query, k)
        return blend(found, k)

    def _open(self, offers: NDArray[np.int32], verdicts: NDArray[np.int16]) -> NDArray[np.int32]:
        found: NDArray[np.int32] = offers[verdicts[self.catalogue.campaign[offers]] == ELIGIBLE]
        return found

    def _first_open(self, offers: NDArray[np.int32], verdicts: NDArray[np.int16], k: int) -> NDArray[np.int32]:
        """The first k of eligible campaigns; looks through no more of a large catalogue than it takes to find them."""
        seen = 4 * k
        while len(found := self._open(offers[:seen], verdicts)) < k and seen < len(offers):
            seen *= 4
        return found[:k]
