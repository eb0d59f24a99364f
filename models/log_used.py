"""What became of the event log that a training's rows were joined from."""

from pathlib import Path
from typing import Self

from domain.errors import InvalidTrainingData
from features.market import Market
from features.spec import Record
from models.metrics import rate_interval

_METADATA = b"offerrank.log"


class LogUsed(Record):
    """Counts of the sold slots, and of events that belong to none; rows from elsewhere have none."""

    clicked: int
    """Slots with a click."""
    clicks_without_impression: int
    """Those of them that no impression was reported for, and that are no rows."""
    not_rendered: int
    """Slots that no impression was reported for."""
    orphan_events: int
    """Impressions, clicks and conversions of no decision that was read."""

    @property
    def without_impression(self) -> float | None:
        """Share of the clicked slots that no impression was reported for; None without a click."""
        return self.clicks_without_impression / self.clicked if self.clicked else None

    @property
    def sentence(self) -> str:
        """For a terminal."""
        share = "" if self.without_impression is None else f" ({self.without_impression:.1%})"
        return f"{self.clicks_without_impression:,} of {self.clicked:,} clicks{share} had no impression reported, and are no rows"

    def expect_impressions(self, market: Market, log_dir: Path) -> None:
        """Beacons that are lost alike do not bias a rate, and ever fewer rows are learned from; those that are lost unlike do.

        Raises:
          InvalidTrainingData: more clicks have no impression than the market allows, and not by chance.
        """
        most = market.training.max_clicks_without_impression
        if self.clicked and rate_interval(self.clicks_without_impression, self.clicked).low > most:
            expected = f"impressions of the offers that were clicked (training.max_clicks_without_impression = {most:g})"
            got = f"none for {self.clicks_without_impression:,} of {self.clicked:,} clicks"
            way = 'where pages report no impressions, say so: policy.impressions = "unreported"'
            raise InvalidTrainingData(str(log_dir), expected, f"{got}; {way}")

    def metadata(self) -> dict[bytes, bytes]:
        """As the Parquet metadata of the rows."""
        return {_METADATA: self.model_dump_json().encode()}

    @classmethod
    def of(cls, metadata: dict[bytes, bytes] | None) -> Self | None:
        """That of a Parquet file; None of one that does not say."""
        said = (metadata or {}).get(_METADATA)
        return None if said is None else cls.model_validate_json(said)
