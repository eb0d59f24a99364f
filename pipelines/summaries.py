"""The watch's summaries of a long archive, by Beam: on one machine or on the runners that training takes.

What is counted, and how it is merged, is the watch's own code (monitoring/watch/batch.py): here is only which machine does what.

    parts ─► look ─► plan (here, in order) ─► parts, hours ─► tally ─► merge by hour, release, slice and series ─► the file

Beam's workers read the archive, and leave what they found in a folder: both have to be at the same path for all of them.
"""

import logging
import pickle
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from itertools import count
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions

from domain.errors import ContractError, OfferRankError
from features.log_archive import DECISIONS, EVENTS, Part
from features.market import Market
from monitoring.summaries import Series, Slice, Summary, from_bytes, merged
from monitoring.watch.batch import Look, PartTask, Place, Plan, look, parts_between, plan
from monitoring.watch.database import MONITOR, monitor_path, sole_writer
from monitoring.watch.finishing import HourFinisher, HourLabels
from monitoring.watch.part import Late
from monitoring.watch.slicing import Tally
from monitoring.watch.store import MonitorStore

log = logging.getLogger(__name__)
FOREVER_MS: Final = 1 << 62
_FOUND: Final = pa.schema([("key", pa.binary()), ("said", pa.binary())])
_LATE: Final = ("impression_id", "type", "status", "time_ms")
_ROWS_AT_ONCE: Final = 100_000
_TROUBLE: Final = "trouble"


@dataclass(frozen=True, slots=True)
class Summarised:
    """What was read."""

    parts: int
    hours: int
    """With something in them."""
    skipped: dict[str, str]
    """Parts that were left out, and why."""


def summarise(
    market: Market,
    log_dir: Path,
    out: Path,
    work: Path,
    since_ms: int = 0,
    until_ms: int = FOREVER_MS,
    beam_args: Sequence[str] = (),
) -> Summarised:
    """Takes all parts of an archive that `out`'s file does not have yet, or those logged between two times.

    Whatever ends it early leaves the file as it was. A part that cannot be read is named and left out.

    Args:
      out: folder of the file: the archive's own where a watch shall go on from there.
      work: an empty folder.
    Raises:
      ContractError: there is no archive; Beam failed; a watch is at work on the file; `since_ms` would leave out parts that
        it waits for.
      MonitorUnavailable: the file is damaged, or cannot be written.
    """
    path, draft = monitor_path(out), work / "monitor.sqlite"
    log_dir, work = log_dir.absolute(), work.absolute()
    if not any((log_dir / name).is_dir() for name in (DECISIONS, EVENTS)):
        raise ContractError(f"{log_dir}: expected an archive, found neither decisions nor events")
    with sole_writer(out), closing(MONITOR.open_to_write(path)) as kept, closing(MONITOR.open_to_write(draft)) as scratch:
        parts = parts_between(log_dir, MonitorStore(kept, log_dir), since_ms, until_ms)
        looks = _looked(market, parts, work, beam_args) if parts else {}
        if not looks:
            return Summarised(0, 0, {})
        for turn in count():
            with MONITOR.named_errors(draft):
                kept.backup(scratch)
            store = MonitorStore(scratch, log_dir)
            todo = plan(market, log_dir, store, looks)
            folder = work / f"told-{turn}"
            troubles = _tell(market, todo, store, folder, beam_args)
            if not troubles:
                hours = _merge(_found(folder / "summaries"), store)
                with store.writing():
                    HourFinisher(market, log_dir, store).tidy()
                with MONITOR.named_errors(path):
                    scratch.backup(kept)
                skipped = {str(at.part.path): at.trouble for at in looks.values() if at.trouble}
                return Summarised(len(looks) - len(skipped), hours, skipped)
            looks |= {place: replace(looks[place], trouble=reason) for place, reason in troubles.items()}
    raise AssertionError


def _looked(market: Market, parts: list[tuple[str, Part]], work: Path, beam_args: Sequence[str]) -> dict[Place, Look]:
    with _pipeline(beam_args) as pipeline:
        looks = _spread(pipeline, "parts", parts) | "look" >> beam.Map(_look, market).with_output_types(dict[str, bytes])
        _write(looks, "looks", work / "looks")
    found = (pickle.loads(said) for _, said in _found(work / "looks"))
    return {(at.log, at.part.number): at for at in found}


def _tell(market: Market, todo: Plan, store: MonitorStore, folder: Path, beam_args: Sequence[str]) -> dict[Place, str]:
    """Has everything told, into a folder; which parts cannot be, and why."""
    late = folder / "late.parquet"
    folder.mkdir()
    rows = sorted(store.late(0, FOREVER_MS), key=lambda event: event[3])
    columns = zip(*rows, strict=True) if rows else ([],) * len(_LATE)
    pq.write_table(pa.table(dict(zip(_LATE, map(list, columns), strict=True))), late, row_group_size=_ROWS_AT_ONCE)
    with _pipeline(beam_args) as pipeline:
        of_parts, troubles = _spread(pipeline, "parts", todo.parts) | "tally parts" >> beam.ParDo(
            _TallyPart(market)
        ).with_outputs(_TROUBLE, main="summaries")
        of_hours = _spread(pipeline, "hours", todo.labels) | "tally hours" >> beam.FlatMap(
            _of_hour, market, str(late)
        ).with_output_types(tuple[bytes, Any])
        summaries = (of_parts, of_hours) | beam.Flatten() | "merge" >> beam.CombinePerKey(_together)
        _write(summaries | "say" >> beam.Map(_said).with_output_types(dict[str, bytes]), "summaries", folder / "summaries")
        _write(troubles, "troubles", folder / _TROUBLE)
    return {_place(key): said.decode() for key, said in _found(folder / _TROUBLE)}


@contextmanager
def _pipeline(beam_args: Sequence[str]) -> Iterator[Any]:
    """Runs what is added to it meanwhile, to its end."""
    try:
        with beam.Pipeline(options=PipelineOptions(list(beam_args))) as pipeline:
            yield pipeline
    except OfferRankError:
        raise
    except Exception as e:
        log.exception("Beam failed")
        raise ContractError(f"Beam failed: {type(e).__name__}: {str(e).strip()[:500]}") from e


def _spread(pipeline: Any, name: str, elements: Sequence[Any]) -> Any:
    """Over all workers: what was made in one place would be worked through there."""
    return pipeline | name >> beam.Create(elements) | f"spread {name}" >> beam.Reshuffle()


def _write(rows: Any, name: str, folder: Path) -> None:
    rows | f"write {name}" >> beam.io.WriteToParquet(str(folder / name), _FOUND, file_name_suffix=".parquet")


def _found(folder: Path) -> Iterator[tuple[bytes, bytes]]:
    """What was written, in the order of its keys."""
    tables = [pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    table = pa.concat_tables([_FOUND.empty_table(), *tables]).sort_by("key")
    for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _look(at: tuple[str, Part], market: Market) -> dict[str, bytes]:
    return {"key": b"", "said": pickle.dumps(look(market, *at))}


class _TallyPart(beam.DoFn):
    def __init__(self, market: Market) -> None:
        self._market = market

    def process(self, task: PartTask) -> Iterable[Any]:
        """Summaries by key; or why there are none, which shall not end the whole run."""
        try:
            tally = task.tally(self._market)
        except ContractError as e:
            trouble = str(e)
        except Exception as e:  # our bug, or a part that somebody else wrote: the rest goes on
            log.exception("part %d of %s", task.part.number, task.log)
            trouble = f"cannot be summarised: {type(e).__name__}: {e}"
        else:
            yield from _keyed(tally)
            return
        key = orjson.dumps([task.log, task.part.number])
        yield beam.pvalue.TaggedOutput(_TROUBLE, {"key": key, "said": trouble.encode()})


def _of_hour(labels: HourLabels, market: Market, late: str) -> Iterable[tuple[bytes, Summary]]:
    def kept(from_ms: int, to_ms: int) -> list[Late]:
        found = pq.read_table(late, filters=[("time_ms", ">=", from_ms), ("time_ms", "<=", to_ms)])
        return list(zip(*(found[name].to_pylist() for name in _LATE), strict=True))

    try:
        return list(_keyed(labels.tally(market, kept)))
    except Exception:  # as the watch does
        log.exception("hour %d goes without its labels", labels.hour.hour_ms)
        return []


def _keyed(tally: Tally) -> Iterator[tuple[bytes, Summary]]:
    for cell, of_cell in tally.by.items():
        for (where, series), summary in of_cell.items():
            yield orjson.dumps([*cell, *where, *series]), summary


def _together(summaries: Iterable[Summary]) -> Summary:
    return reduce(merged, summaries)


def _said(keyed: tuple[bytes, Summary]) -> dict[str, bytes]:
    return {"key": keyed[0], "said": keyed[1].to_bytes()}


def _place(key: bytes) -> Place:
    log_name, number = orjson.loads(key)
    return log_name, number


def _merge(found: Iterable[tuple[bytes, bytes]], store: MonitorStore) -> int:
    """Into the file; of how many hours they are."""
    tally, hours = Tally(), set()
    for key, said in found:
        hour_ms, release, by, value, kind, name = orjson.loads(key)
        if (hour_ms, release) not in tally.by:
            with store.writing():
                store.merge(tally)
            tally = Tally()
        tally.add((hour_ms, release), Slice(by, value), Series(kind, name), from_bytes(said))
        hours.add(hour_ms)
    with store.writing():
        store.merge(tally)
    return len(hours)
