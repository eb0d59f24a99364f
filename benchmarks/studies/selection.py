"""Selection bias: is ESMM's pCVR over all impressions nearer to the truth than that of a model of clicked rows?

Clicks are few and are not a fair draw: what is liked is clicked, and prices are set for every impression.
"""

from benchmarks.studies.columns import BIAS, CTR, CVR, CVR_OF_CLICKS, Columns, study_market
from benchmarks.studies.fits import fit, predict
from benchmarks.studies.scores import Score, beats, judged, pcoc_by_decile
from simulation.offline import OfflineMarket, OfflineSpec

TITLE = "Selection: pCVR against the true CVR of all impressions"
ALONE, SHARED, ESMM = "clicks alone", "MMoE, CVR loss on clicks", "ESMM"
PAGES = 10_000


def study(seed: int, pages: int = PAGES) -> list[Score]:
    """Trains each model on the same log; judges on shown offers and on offers at random, clicked or not."""
    contenders = {
        ALONE: study_market(seed, (CVR_OF_CLICKS,)),
        SHARED: study_market(seed, (CTR, CVR), head="mmoe", bias=BIAS),
        ESMM: study_market(seed, (CTR, CVR.model_copy(update={"space": "entire"})), head="separate", bias=BIAS),
    }
    market = contenders[ALONE]
    seen, shown = (OfflineMarket(market, seed).hour(hour, n) for hour, n in ((0, pages), (1, pages // 2)))
    anything = OfflineMarket(market, seed, OfflineSpec(epsilon=1.0)).hour(1, pages // 2)
    scores = []
    for name, contender in contenders.items():
        columns = Columns(contender, seen)
        ranker, _ = fit(contender, columns, seen.take(seen.click) if name == ALONE else seen)
        metrics: dict[str, float] = {}
        for kind, log in (("shown", shown), ("random", anything)):
            p = predict(ranker, columns.inputs(log.features))[:, -1]
            metrics |= judged(kind, log.pcvr, p)
            by_decile = pcoc_by_decile(log.pctr, log.pcvr, p)
        metrics["worst decile, random"] = max(abs(pcoc - 1) for pcoc in by_decile)
        scores.append(Score(name, seed, metrics, by_decile))
    return scores


def claims(scores: list[Score]) -> list[str]:
    """What the study was made to find out."""
    return [beats(scores, ESMM, ALONE, metric) for metric in ("log loss, shown", "log loss, random", "worst decile, random")]
