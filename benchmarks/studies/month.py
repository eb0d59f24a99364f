"""A month without a hand on it: hourly turns that judge before they learn and a full training a day, on a market that moves, with
an hour without traffic, an archive that is late for an hour, and an hour whose clicks are lost.

The turns are those of `offerrank retrain`: the same readings of new labels, the same pass, calibration and gates, over rows that
pool until they are enough. Beside it a full training a day that releases whatever comes of it, and the first model, which stays.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from benchmarks.studies.columns import BIAS, CTR, HOURLY_BATCH, study_market
from benchmarks.studies.drift import DAY_H, DRIFT, HISTORY_H
from benchmarks.studies.release import CALIBRATED, RAW, Model, Rows, fit_anew
from benchmarks.studies.scores import log_loss_to_truth, pcoc_to_truth
from features.market import Market
from features.training_spec import Gate
from models.evaluation import EvaluationReport, InService, LabelCount, compare, evaluate_task
from models.gates import check_task, has_enough
from models.instrument import split_doubts
from models.ranker import Ensemble
from models.release import left_out
from pipelines.calibration import calibrated, where_shown
from pipelines.doubts import doubted_labels, doubts
from simulation.offline import HOUR_S, Logged, OfflineMarket, OfflineSpec

DAYS, PAGES = 30, 60
LOOP, DAILY, NEVER = "hourly turns", "daily full", "never again"


@dataclass(frozen=True, slots=True)
class Incidents:
    """Hours of the month, from 0, in which something happens."""

    no_traffic: int
    late: int
    """Its rows reach the archive an hour later."""
    broken: int
    """None of its clicks is reported."""

    @classmethod
    def of(cls, days: int) -> "Incidents":
        """Spread over the month, in the afternoon, so that little traffic does not hide them."""
        no_traffic, late, broken = (int(share * days) * DAY_H + hour for share, hour in ((0.2, 13), (0.4, 15), (0.6, 17)))
        return cls(no_traffic, late, broken)


@dataclass(slots=True)
class Day:
    """How a loop did on one day; a row of the JSON."""

    day: int
    loop: str
    log_loss: float = 0.0
    pcoc: float = 0.0
    released: int = 0
    refused: int = 0
    seconds: float = 0.0


class Turn(NamedTuple):
    """What came of one."""

    released: bool
    tried: bool
    """Whether a model was trained; if not, the next turn is of the same kind."""
    what: str
    """The kind of training, or why there was none, or none that was released."""


@dataclass(slots=True)
class Turns:
    """The loop: what `offerrank retrain` does every hour, on rows in memory."""

    market: Market
    service: Model
    learned: list[Logged]
    """Hours that the release in service has learned from, as far back as the archive goes."""
    pending: list[Logged] = field(default_factory=list)
    """Hours that it has not."""
    version: int = 1

    def __call__(self, anew: bool) -> Turn:
        """One turn."""
        gate = self.market.training.gates.get(CTR.name, Gate())
        if not self.pending:
            return Turn(False, False, "waits: no rows")
        log = Logged.join(self.pending)
        theirs = where_shown(self.market, self.service.raw(log))
        theirs |= calibrated(self.market, self.service.calibrator, theirs)
        over, lasting = split_doubts(doubts(self.market, theirs)[CTR.name])
        if lasting:
            return Turn(False, False, f"refused: {lasting[0]}")
        kept = ~left_out(theirs["time_ms"], CTR.label, doubted_labels(self.market, {CTR.name: over}))
        log = log.take(np.flatnonzero(kept))
        theirs = {name: column[kept] for name, column in theirs.items()}
        counted = LabelCount(rows=len(log), positives=int(log.click.sum()))
        if not has_enough(gate, counted):
            return Turn(False, False, f"waits: {counted.positives} positives")
        contender = fit_anew(self.market, self.learned) if anew else self.service
        before = None if anew else kept_state(contender.ranker)
        ours, after = contender.learned(self.market, log)
        report = judged(self.market, ours, theirs, self.version)
        if report.refusals:
            if before is not None:
                restore(before)
            return Turn(False, True, f"refused: {'full' if anew else 'incremental'}: {report.refusals[0]}")
        self.service = after
        since_s = log.time_s[-1] - HISTORY_H * HOUR_S
        self.learned = [*(earlier for earlier in self.learned if earlier.time_s[0] >= since_s), log]
        self.pending = []
        self.version += 1
        without = f", left out: {over[0]}" if over else ""
        return Turn(True, True, ("full" if anew else "incremental") + without)


def judged(market: Market, ours: Rows, theirs: Rows, version: int) -> EvaluationReport:
    """The contender and the release in service, on rows that neither had learned from, held to the market's gates."""
    labels, pages = ours["click"], ours["time_ms"]
    measured = evaluate_task(labels, ours[RAW].astype(np.float64), ours[CALIBRATED], {}, pages)
    rival = InService(version=version, tasks={CTR.name: compare(labels, ours[CALIBRATED], theirs[CALIBRATED], {}, 0, pages)})
    gates = check_task(CTR.name, market.training.gates.get(CTR.name, Gate()), measured, measured, rival)
    return EvaluationReport(tasks={CTR.name: measured}, gates=gates, in_service=rival)


def kept_state(ranker: Ensemble) -> list[tuple[Any, NDArray[Any]]]:
    """Weights and optimizers, to go back to."""
    variables = [variable for member in ranker.members for variable in (*member.variables, *member.optimizer.variables)]
    return [(variable, variable.numpy()) for variable in variables]


def restore(state: list[tuple[Any, NDArray[Any]]]) -> None:
    """As they were."""
    for variable, value in state:
        variable.assign(value)


def traffic(pages: int, hour: int) -> int:
    """Pages of an hour: from a fifth of the mean at night to nine fifths in the evening."""
    return round(pages * (1 + 0.8 * np.sin(2 * np.pi * (hour % DAY_H - 9) / DAY_H)))


def study(seed: int, pages: int = PAGES, days: int = DAYS) -> tuple[list[Day], list[str]]:
    """All three from one fit on two days; then the month, hour by hour.

    Returns:
      the days of each, and what became of turns that were no incremental release.
    """
    market = study_market(seed, (CTR,), bias=BIAS, batch_size=HOURLY_BATCH)
    simulated = OfflineMarket(market, seed, OfflineSpec(**DRIFT))
    history = [simulated.hour(hour, traffic(pages, hour)) for hour in range(HISTORY_H)]
    first = fit_anew(market, history)
    turns, daily, archive = Turns(market, fit_anew(market, history), history), first, history
    found = {name: [Day(day, name) for day in range(days)] for name in (LOOP, DAILY, NEVER)}
    said: list[str] = []
    full_due = False
    truth: list[NDArray[np.float64]] = []
    p: dict[str, list[NDArray[np.float64]]] = {name: [] for name in found}
    for hour, real, reported in month(simulated, pages, days):
        day = hour // DAY_H
        if hour and hour % DAY_H == 0:
            began = time.perf_counter()
            daily = fit_anew(market, archive[-HISTORY_H:])
            found[DAILY][day].seconds += time.perf_counter() - began
            found[DAILY][day].released += 1
        if real is not None:
            truth.append(real.pctr)
            for name, model in ((LOOP, turns.service), (DAILY, daily), (NEVER, first)):
                p[name].append(model.served(market, real))
        archive = [*archive, *reported]
        turns.pending += reported
        began = time.perf_counter()
        full_due = full_due or hour % DAY_H == DAY_H - 1
        turn = turns(anew=full_due)
        today = found[LOOP][day]
        today.seconds += time.perf_counter() - began
        today.released += turn.released
        today.refused += turn.what.startswith("refused")
        if turn.what != "incremental":
            said.append(f"day {day}, hour {hour % DAY_H}: {turn.what}")
        full_due = full_due and not turn.tried
        if hour % DAY_H == DAY_H - 1:
            for name, days_of in found.items():
                days_of[day].log_loss = log_loss_to_truth(np.concatenate(truth), np.concatenate(p[name]))
                days_of[day].pcoc = pcoc_to_truth(np.concatenate(truth), np.concatenate(p[name]))
            truth, p = [], {name: [] for name in found}
    return [day for days_of in found.values() for day in days_of], said


def month(simulated: OfflineMarket, pages: int, days: int) -> Iterator[tuple[int, Logged | None, list[Logged]]]:
    """(hour, what happened in it, if anything, and what has reached the archive by its end)."""
    incidents, late = Incidents.of(days), []
    for hour in range(days * DAY_H):
        if hour == incidents.no_traffic:
            yield hour, None, []
            continue
        real = simulated.hour(HISTORY_H + hour, traffic(pages, hour))
        reported = replace(real, click=np.zeros(len(real), bool)) if hour == incidents.broken else real
        if hour == incidents.late:
            late = [reported]
            yield hour, real, []
            continue
        yield hour, real, [*late, reported]
        late = []


def tables(days: list[Day], said: list[str]) -> Iterator[Table | str]:
    """A row per day, then what became of turns but for incremental releases, those that wait for rows summed up."""
    drawn = Table(title="A month: log loss against the truth, by day", box=box.SIMPLE, title_justify="left")
    names = list(dict.fromkeys(day.loop for day in days))
    drawn.add_column("day", justify="right")
    for heading in (*names, *(f"PCOC, {name}" for name in names), "released", "refused", *(f"s, {name}" for name in names[:2])):
        drawn.add_column(heading, justify="right")
    by_day: dict[int, dict[str, Day]] = {}
    for day in days:
        by_day.setdefault(day.day, {})[day.loop] = day
    for number, of_day in by_day.items():
        cells = [f"{of_day[name].log_loss:.4f}" for name in names] + [f"{of_day[name].pcoc:.3f}" for name in names]
        own = of_day[names[0]]
        seconds = [f"{of_day[name].seconds:.1f}" for name in names[:2]]
        drawn.add_row(str(number), *cells, str(own.released), str(own.refused), *seconds)
    means = [f"{np.mean([d.log_loss for d in days if d.loop == name]):.4f}" for name in names]
    sums = [str(sum(getattr(d, what) for d in days if d.loop == names[0])) for what in ("released", "refused")]
    spent = [f"{sum(d.seconds for d in days if d.loop == name):.0f}" for name in names[:2]]
    drawn.add_section()
    drawn.add_row("all", *means, *[""] * len(names), *sums, *spent)
    yield drawn
    waited = [line for line in said if ": waits: " in line]
    yield f"{len(waited)} turns waited for more rows"
    yield from (line for line in said if line not in waited)
