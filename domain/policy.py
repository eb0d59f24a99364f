"""What changes revenue is policy: versioned data whose id is logged with each decision."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.errors import shown
from domain.money import MAX_MICROS
from domain.refusals import Misfit
from domain.traffic import TrafficPolicy


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Deadlines(_Record):
    """Each stage's share of a decision's time, in milliseconds; what misses it falls back to something named."""

    shopper: int = Field(default=20, ge=1, le=1000)
    """Reading the shopper's state; else: an empty history."""
    retrieval: int = Field(default=30, ge=1, le=1000)
    """Embedding the request; else: rule sources only."""
    ranking: int = Field(default=60, ge=1, le=1000)
    """Scoring the candidates; else: the priors."""
    hold: int = Field(default=30, ge=1, le=1000)
    """Holding the prices; else: no budgeted offer is shown."""

    def share_within(self, tmax_ms: int | None) -> float:
        """In (0, 1]: what each stage has of its time where all of them have so much; all of it where nobody says."""
        return 1.0 if tmax_ms is None else min(1.0, tmax_ms / (self.shopper + self.retrieval + self.ranking + self.hold))


class Policy(_Record):
    """How offers are chosen and priced."""

    id: str = Field(min_length=1, max_length=64)
    """Logged with each decision; change it whenever anything below changes."""
    auction: Literal["gsp"] = "gsp"
    """Generalised second price."""
    reserve_ecpm_micros: int = Field(default=0, ge=0, le=MAX_MICROS)
    """Least a slot sells for, per thousand impressions."""
    least_bid_share: float = Field(default=0.1, ge=0, le=1)
    """Least a winner pays, as a share of its paced bid, where no rival and no reserve asks for more; 0: it may pay nothing."""
    explored_bid_share: float = Field(default=0.5, ge=0, le=1)
    """The same of an offer that was drawn at random: it pays this or the reserve."""
    max_candidates: int = Field(default=100, ge=1, le=1000)
    """Most offers that are ranked per decision."""
    epsilon: float = Field(default=0.05, ge=0, le=1)
    """Share of decisions whose slate is drawn uniformly, once a release serves."""
    cold_start_epsilon: float = Field(default=1.0, ge=0, le=1)
    """The same before the first release."""
    log_candidates: float = Field(default=0.1, ge=0, le=1)
    """Share of decisions that are logged with all their candidates; explored ones always are, the others with their winners
    and how many candidates lost for which reason."""
    priors: dict[str, float]
    """Task -> probability assumed where no model answers."""
    impressions: Literal["reported", "unreported"] = "reported"
    """Whether pages report what was seen. If so, a click counts once its impression was reported, or a server vouches for it, and
    training learns of offers whose impression was reported; if not, of all that were sold, as if each had been seen."""
    unseen_hold_ttl_s: int = Field(default=20, ge=1, le=86_400)
    """How long the price of an offer stays reserved for a page that has not reported it as seen."""
    hold_ttl_s: int = Field(default=60, ge=1, le=86_400)
    """The same once it was seen, waiting for its click."""
    conversion_delay_s: int | None = Field(default=None, ge=1, le=90 * 86_400)
    """Mean time from a click to its conversion, as long as too few have been seen; a tenth of the conversion window if absent."""
    return_window_s: int = Field(default=30 * 86_400, ge=0, le=90 * 86_400)
    """How long after its window a conversion may be reported as returned, which gives its charge back."""
    day_length_s: int = Field(default=86_400, ge=10, le=86_400)
    """Length of a budget day; shorter only in simulations."""
    traffic: TrafficPolicy = TrafficPolicy()
    """What is plausible of shoppers."""
    traffic_shape: tuple[float, ...] = (1.0,)
    """Traffic expected in equal parts of the budget day, such as 24 hours, in any unit: budgets are spread over it."""
    deadlines_ms: Deadlines = Deadlines()
    """Milliseconds per stage."""

    @model_validator(mode="after")
    def _priors_are_probabilities(self) -> "Policy":
        for task, prior in self.priors.items():
            if not 0 < prior < 1:
                raise Misfit(f"expected a number above 0 and below 1, got {prior}", f"priors.{task}")
        return self

    @model_validator(mode="after")
    def _traffic_is_weights(self) -> "Policy":
        if not all(w >= 0 for w in self.traffic_shape) or not 0 < sum(self.traffic_shape) < float("inf"):
            raise Misfit(f"expected weights of at least 0, not all 0, got {shown(self.traffic_shape)}", "traffic_shape")
        return self
