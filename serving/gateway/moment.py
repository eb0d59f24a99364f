"""What a decision was made with that no one can find out again later, as the log keeps it: the `moment` of a decision.

    seed      of its draws
    asked     what the request says beside what the log has anyway, such as its placements
    market    stands for the market file; absent where that is not known
    release   that was loaded, where another or none ranked; null before the first
    barred    reason -> the catalogue's campaigns that budgets and caps took out before ranking, as bits in base64
    unable    [campaign, reason, otherwise] of each that could not pay for its place, see `Unable`
    pacing    multipliers of the ranked campaigns in the catalogue's order, in base64: float32 where these say it, else float64;
              absent where all are 1

Campaigns go by their place in the catalogue, whose version the decision names. What is empty is absent.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from domain.errors import ContractError
from domain.luck import Luck
from domain.outcome import Reason
from domain.request import DecisionRequest
from serving.gateway.able import Unable
from serving.gateway.decide import Decided
from serving.gateway.market_view import MarketView

BY_STATE = (Reason.BUDGET, Reason.FREQUENCY_CAP, Reason.BUDGET_UNKNOWN)
"""Reasons that only the moment knows; all others follow from the request, the time and the catalogue."""
_LOGGED = ("decision_id", "shopper_key", "features", "asked_by", "invalid")
_NO_MATTER = ("test", "explain", "patience", "time_share")
_ASKED = {f.name: f.default for f in fields(DecisionRequest) if f.name not in (*_LOGGED, *_NO_MATTER)}
_REQUEST = TypeAdapter(DecisionRequest)


def moment(decided: Decided, view: MarketView) -> dict[str, Any]:
    """Of one decision, as JSON holds it."""
    met, request = decided.met, decided.request
    asked = {n: value for n, default in _ASKED.items() if (value := getattr(request, n)) != default or default is MISSING}
    said: dict[str, Any] = {"seed": met.luck.seed, "asked": asked}
    if view.file:
        said["market"] = view.file
    if met.release.version != decided.ranked_by:
        said["release"] = met.release.version
    if barred := _barred(met.verdicts):
        said["barred"] = barred
    if decided.sold.unable:
        said["unable"] = [list(one) for one in decided.sold.unable]
    if decided.pacing_multiplier.min(initial=1.0) < 1.0:
        said["pacing"] = _pacing(decided, view)
    return said


def _barred(verdicts: NDArray[np.int16]) -> dict[str, str]:
    times = np.bincount(verdicts, minlength=max(BY_STATE) + 1)
    return {
        reason.name.lower(): b64encode(np.packbits(verdicts == reason.value).tobytes()).decode()
        for reason in BY_STATE
        if times[reason]
    }


def _pacing(decided: Decided, view: MarketView) -> str:
    of_all = np.full(len(view.catalogue.campaign_ids), np.nan)
    of_all[view.catalogue.campaign[decided.live.offer]] = decided.pacing_multiplier
    multiplier = of_all[~np.isnan(of_all)]
    short = multiplier.astype("<f4")
    return b64encode((short if (short == multiplier).all() else multiplier.astype("<f8")).tobytes()).decode()


@dataclass(frozen=True, slots=True)
class Moment:
    """The same, read again."""

    luck: Luck
    asked: Mapping[str, Any]
    market: str
    release: int | None
    """That was loaded."""
    barred: Mapping[int, NDArray[np.uint8]]
    """Reason -> bits."""
    unable: list[Unable]
    packed_pacing: bytes = field(repr=False)

    @classmethod
    def read(cls, said: Mapping[str, Any], ranked_by: int | None) -> Self:
        """What `moment` said of a decision.

        Raises:
          ContractError: it said something else.
        """
        try:
            return cls(
                luck=Luck(int(said["seed"])),
                asked=said["asked"],
                market=said.get("market", ""),
                release=said.get("release", ranked_by),
                barred={
                    Reason[name.upper()].value: np.unpackbits(np.frombuffer(b64decode(bits, validate=True), np.uint8))
                    for name, bits in said.get("barred", {}).items()
                },
                unable=[Unable(*map(int, one)) for one in said.get("unable", ())],
                packed_pacing=b64decode(said.get("pacing", ""), validate=True),
            )
        except (KeyError, TypeError, ValueError) as e:
            raise ContractError(f"moment: expected what a gateway logs of it, got {said!r:.200}: {e}") from None

    def request(self, logged: Mapping[str, Any], features: dict[str, Any]) -> DecisionRequest:
        """As it was asked. logged: the fields of the decision; features: as used."""
        given = {name: logged[name] for name in _LOGGED} | dict(self.asked) | {"features": {}, "test": False, "explain": False}
        try:
            asked = _REQUEST.validate_python(given)
        except ValidationError as e:
            raise ContractError(f"moment.asked: expected a request, got {self.asked!r:.200}: {e.errors()[0]['msg']}") from None
        return replace(asked, features=features)

    def pacing(self, campaign: NDArray[np.int32]) -> NDArray[np.float64]:
        """[M] multipliers of candidates' campaigns.

        Raises:
          ContractError: other campaigns were ranked.
        """
        if not self.packed_pacing:
            return np.ones(len(campaign))
        ranked, which = np.unique(campaign, return_inverse=True)
        kind = {4 * len(ranked): "<f4", 8 * len(ranked): "<f8"}.get(len(self.packed_pacing))
        if kind is None:
            raise ContractError(f"moment.pacing: expected that of {len(ranked)} campaigns, got {len(self.packed_pacing)} bytes")
        return np.frombuffer(self.packed_pacing, kind).astype(np.float64)[which]
