"""Position bias: is a pCTR learned beside a bias tower nearer to the true position-free CTR?

Better offers stand higher up, so that a low click rate further down is the slot's doing and the offer's.
"""

from dataclasses import replace

import numpy as np

from benchmarks.studies.columns import BIAS, CTR, SLOTS, Columns, study_market
from benchmarks.studies.fits import fit, predict
from benchmarks.studies.scores import Score, beats, judged
from features.spec import FeatureSpec
from simulation.offline import Logged, OfflineMarket, OfflineSpec

TITLE = "Position: pCTR against the true position-free CTR"
TOWER, INPUT, WITHOUT = "bias tower", "position as input, served with 0", "without position"
SLOT = FeatureSpec(name="slot", source="context", dtype="int", vocabulary=tuple(range(SLOTS)), default=0)
PAGES = 10_000


def study(seed: int, pages: int = PAGES) -> list[Score]:
    """Trains each model on the same log; judges on shown offers, and on offers at random, as ranking meets them."""
    market = study_market(seed, (CTR,))
    seen, shown = (OfflineMarket(market, seed).hour(hour, n) for hour, n in ((0, pages), (1, pages // 2)))
    anything = OfflineMarket(market, seed, OfflineSpec(epsilon=1.0)).hour(1, pages // 2)
    contenders = {
        TOWER: study_market(seed, (CTR,), bias=BIAS),
        INPUT: study_market(seed, (CTR,), plus=(SLOT,)),
        WITHOUT: market,
    }
    scores = []
    for name, contender in contenders.items():
        columns = Columns(contender, _with_slot(seen))
        ranker, _ = fit(contender, columns, _with_slot(seen))
        metrics: dict[str, float] = {}
        for kind, log in (("shown", shown), ("random", anything)):
            p = predict(ranker, columns.inputs(_with_slot(log, first=True).features))[:, 0]
            metrics |= judged(kind, log.pctr, p)
        scores.append(Score(name, seed, metrics))
    return scores


def claims(scores: list[Score]) -> list[str]:
    """What the study was made to find out."""
    return [beats(scores, TOWER, other, f"log loss, {kind}") for other in (INPUT, WITHOUT) for kind in ("shown", "random")]


def _with_slot(log: Logged, *, first: bool = False) -> Logged:
    """The position as a feature, or 0 throughout."""
    return replace(log, features={**log.features, "slot": np.zeros_like(log.position) if first else log.position})
