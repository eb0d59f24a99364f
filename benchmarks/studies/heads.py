"""Heads: what several tasks share, on clicks and conversions of one log, against the truth.

All have the default network, a bias tower, and the conversion's loss on clicks, so that they differ by their head alone.
"""

import time
from typing import get_args

from benchmarks.studies.columns import BIAS, CTR, CVR, Columns, study_market
from benchmarks.studies.fits import fit, predict
from benchmarks.studies.scores import Score, beats, excess
from features.model_spec import Head
from simulation.offline import OfflineMarket, OfflineSpec

TITLE = "Heads: pCTR and pCVR against the truth, in thousandths of a nat above it"
PAGES = 10_000


def study(seed: int, pages: int = PAGES) -> list[Score]:
    """Fits each head to the same log; judges on shown offers and on offers at random."""
    contenders = {str(head): study_market(seed, (CTR, CVR), head=head, bias=BIAS) for head in get_args(Head)}
    market = next(iter(contenders.values()))
    seen, shown = (OfflineMarket(market, seed).hour(hour, n) for hour, n in ((0, pages), (1, pages // 2)))
    anything = OfflineMarket(market, seed, OfflineSpec(epsilon=1.0)).hour(1, pages // 2)
    columns = Columns(market, seen)
    scores = []
    for name, contender in contenders.items():
        began = time.perf_counter()
        ranker, _ = fit(contender, columns, seen)
        seconds = time.perf_counter() - began
        metrics: dict[str, float] = {}
        for kind, log in (("shown", shown), ("random", anything)):
            p = predict(ranker, columns.inputs(log.features))
            metrics |= {f"pCTR, {kind}": excess(log.pctr, p[:, 0]), f"pCVR, {kind}": excess(log.pcvr, p[:, 1])}
        scores.append(Score(name, seed, metrics | {"fit s": seconds}))
    return scores


def claims(scores: list[Score]) -> list[str]:
    """What the study was made to find out."""
    return [beats(scores, "mmoe", "separate", metric) for metric in ("pCTR, shown", "pCVR, shown")]
