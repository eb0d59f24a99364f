"""`offerrank retrain`: trains on what the gateway logged, once or on a schedule, and notes what came of each turn."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from domain.clock import now_ms
from domain.doubted import Doubted
from domain.errors import LabelsDoubted, NothingToLearn, OfferRankError
from domain.signals import TERMINAL, told_to_stop
from features.market import load_market
from models.turns import Training, Turns, read_turns, write_turns
from monitoring.learning_beat import LearningBeat
from offerrank.asked import Asked
from offerrank.recalibration import recalibrate
from offerrank.training import disk_errors_said, one_line, say, train
from pipelines.metadata_address import metadata_address
from pipelines.progress import listening
from pipelines.recording import outcome_of, recorded, step

log = logging.getLogger("offerrank.retraining")
LOOK_S = 5.0
"""Between two looks whether an incident asks for something."""
WINDOW_S = 7 * 86_400
"""How much of the log a recalibration uses that an incident asks for."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When `offerrank retrain` trains, and from what."""

    every_s: int | None
    """Seconds from one start to the next; once if none."""
    delay_s: int
    """Seconds before the first."""
    full_every_s: int
    """Age of the last full training at which the next one is due; 0 trains on the whole log each time."""
    doubted: Doubted = Doubted.REFUSE
    """What becomes of labels that the release in service does not believe."""


def retrain(
    market_path: Path,
    log_dir: Path,
    out: Path,
    schedule: Schedule,
    as_json: bool,
    beam_args: Sequence[str] = (),
    metadata: str | None = None,
) -> None:
    """Joins the archive into examples and trains on them; once, or again and again until told to stop.

    Starts from the newest release, on what was logged since; from nothing, on the whole log, where that cannot be or is due.
    On a schedule whatever ends a turn is logged in a line, as an error unless it is that there is nothing to learn from yet, and
    the next turn tried. What came of each turn is in retraining.json: `models.turns`. Between two turns incidents may ask
    for one, or for a recalibration: `monitoring.incidents.requests`.

    Raises:
      InvalidMarket: at the start.
      InvalidTrainingData, NotBlessed, ContractError, OfferRankError: of a single turn, as in `train`.
    """
    load_market(market_path)
    metadata_address(metadata, out)
    if schedule.delay_s:
        _load_while_waiting(schedule.delay_s)
    if schedule.every_s is None:
        with disk_errors_said():
            _told(out, None, lambda: _turn(market_path, log_dir, out, schedule, as_json, beam_args, metadata))
        return
    asked = Asked(log_dir, out)
    with told_to_stop(TERMINAL) as stop:

        def turn() -> None:
            work = partial(_turn, market_path, log_dir, out, schedule, as_json, beam_args, metadata, stop.is_set)
            _told(out, schedule.every_s, work)

        while not stop.is_set():
            next_s = time.monotonic() + schedule.every_s
            _tried(turn)
            next_s = max(next_s, time.monotonic() + 1.0)
            while not stop.wait(min(max(next_s - time.monotonic(), 0.0), LOOK_S)) and time.monotonic() < next_s:
                if asked("recalibrate"):
                    _tried(lambda: recalibrate(market_path, log_dir, out, WINDOW_S, as_json))
                if asked("retrain"):
                    break


def _tried(turn: Callable[[], None]) -> None:
    """Whatever ends it is said in a line, and ends no schedule."""
    try:
        turn()
    except Exception as e:
        level = logging.INFO if outcome_of(e) == "waiting" else logging.ERROR
        foreseen = isinstance(e, (OfferRankError, OSError, pa.ArrowException))
        log.log(level, "no release this time: %s", one_line(e), exc_info=not foreseen)


def _told(releases: Path, every_s: int | None, turn: Callable[[], None]) -> None:
    """The monitor is told when a turn last brought a release, and why the others did not."""

    def note(why: str | None) -> None:
        try:
            LearningBeat.note(releases, now_ms(), every_s, why)
        except OSError as e:  # before the first release there may be no folder
            log.log(logging.ERROR if releases.is_dir() else logging.DEBUG, "%s", one_line(e))

    if LearningBeat.read(releases) is None:
        note("no turn has ended yet")
    try:
        turn()
    except Exception as e:
        note(one_line(e))
        raise
    note(None)


def _turn(
    market_path: Path,
    log_dir: Path,
    out: Path,
    schedule: Schedule,
    as_json: bool,
    beam_args: Sequence[str],
    metadata: str | None,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """One training, noted whatever comes of it; one that is told to stop leaves no note.

    Args:
      stopped: whether it was told so where signals do not end it, before the pipeline runs.
    """
    from pipelines.freshness import release_in_service, release_to_continue
    from pipelines.scratch import scratch_folder
    from pipelines.turn_rows import lay_by

    before = turns = read_turns(out)
    training: Training = "incremental"
    try:
        market = load_market(market_path)
        previous, why = release_to_continue(market, out, now_ms(), schedule.full_every_s, before.full.began_ms)
        training = "incremental" if previous else "full"
        if previous:
            before = before.made_up_by(previous.manifest.full_ms or previous.manifest.created_ms)
        turns = before.began(training, now_ms())
        _note(out, turns)
        say(f"{training} training: {why}")
        with scratch_folder("rows") as folder, recorded(out, training, market.name, log_dir.absolute()) as record:
            record.know(previous=previous.version if previous else None)
            with listening(record), step("join", 1, 1, {}):
                service = previous or release_in_service(market, out)
                rows = lay_by(market, log_dir, now_ms(), folder, service, anew=previous is None, doubted=schedule.doubted)
                record.rows = lambda _: (None, rows.rows)
            if stopped():
                raise SystemExit
            for line in rows.said:
                say(line)
            train(
                market_path,
                rows.data,
                out,
                as_json,
                through_ms=rows.through_ms,
                labels=rows.labels,
                previous=previous,
                new=rows.new,
                left_out=rows.left_out,
                beam_args=beam_args,
                metadata=metadata,
                record=record,
            )
    except (NothingToLearn, LabelsDoubted) as e:
        # It was not for this training to be tried: the next one of its kind is due when it was.
        _note(out, before.ended(training, outcome_of(e), one_line(e)))
        raise
    except Exception as e:
        _note(out, turns.ended(training, outcome_of(e), one_line(e)))
        raise
    except BaseException:
        _note(out, before)
        raise
    _note(out, turns.released(training))


def _note(out: Path, turns: Turns) -> None:
    """What cannot be noted must not hide what was to be."""
    try:
        write_turns(out, turns)
    except OSError as e:
        log.error("%s", one_line(e))


def _load_while_waiting(delay_s: int) -> None:
    """TensorFlow takes its time to load; the log fills meanwhile."""
    from pipelines.run_local import import_pipeline

    start_s = time.monotonic() + delay_s
    say("loading TensorFlow while the log fills")
    import_pipeline()
    time.sleep(max(start_s - time.monotonic(), 0))
