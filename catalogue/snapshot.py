"""The last catalogue on this machine's disk: what a process starts from, and goes on with while the database is away.

    all-<history>-<version>.parquet            all that is sold at a version
    since-<history>-<since>-<version>.json     what has changed between two versions, as it is now

Files are written whole under another name first, and say the same whoever writes them: processes may share the folder.
"""

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from catalogue.checks import stored
from catalogue.stock import Stock, Stored
from features.market import Market
from features.offer_table import OfferTable

MOST_CHANGES = 200
"""Files of changes after which a whole snapshot is written."""
AT_ONCE = 100_000
"""Rows of a row group."""
_WHOLE = re.compile(r"all-([0-9a-f]{16})-(\d+)\.parquet")
_CHANGES = re.compile(r"since-([0-9a-f]{16})-(\d+)-(\d+)\.json")
_SCHEMA = pa.schema([("kind", pa.string()), ("id", pa.string()), ("body", pa.binary())])

log = logging.getLogger(__name__)


class SnapshotRow(NamedTuple):
    """An advertiser, campaign or offer as a snapshot has it."""

    kind: str
    id: str
    body: str | bytes | None


class SnapshotFolder:
    """Where snapshots of one market are; what cannot be written is said once, and the process goes on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._failed = False

    def load(self, market: Market) -> tuple[str, Stock] | None:
        """The last catalogue and the history it is of; None where there is none that can be read.

        Raises:
          InvalidMarket: it does not fit the market file.
        """
        for history, version, path in sorted(self._wholes(), key=lambda w: w[2].stat().st_mtime, reverse=True):
            try:
                stock = Stock.of(market, _read(path), version)
            except (OSError, pa.ArrowException, KeyError, ValueError) as e:
                log.error("%s: is no snapshot of a catalogue and is passed over: %s", path, e)
                continue
            for since, until, changes in self._changes(history):
                if since <= stock.version < until:
                    try:
                        rows = [SnapshotRow(*row) for row in orjson.loads(changes.read_bytes())]
                    except (OSError, ValueError, TypeError) as e:
                        log.error("%s: cannot be read, the catalogue is that of version %d: %s", changes, stock.version, e)
                        break
                    stock = stock.after(rows, until)
            return history, stock
        return None

    def keep(self, history: str, stock: Stock, rows: Sequence[Stored] | None) -> None:
        """Writes what is new.

        Args:
          rows: what has changed since the version that this folder had; None where it may not have had one.
        """
        with self._saying_once():
            changes = self._changes(history)
            if rows is not None and len(changes) < MOST_CHANGES and self._wholes():
                content = orjson.dumps([(r.kind, r.id, r.body.decode() if isinstance(r.body, bytes) else r.body) for r in rows])
                self._write(f"since-{history}-{stock.since}-{stock.version}.json", lambda path: path.write_bytes(content))
                return
            self._write(f"all-{history}-{stock.version}.parquet", lambda path: _write_whole(path, stock))
            for other, version, path in self._wholes():
                if (other, version) != (history, stock.version) and (other != history or version < stock.version):
                    path.unlink(missing_ok=True)
            for path in self._folder.glob("since-*"):
                named = _CHANGES.fullmatch(path.name)
                if named is None or named[1] != history or int(named[3]) <= stock.version:
                    path.unlink(missing_ok=True)

    def _write(self, name: str, write: Callable[[Path], object]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f".{name}.{os.getpid()}"
        try:
            write(partial)
            partial.replace(self._folder / name)
        finally:
            partial.unlink(missing_ok=True)

    def _wholes(self) -> list[tuple[str, int, Path]]:
        found = ((_WHOLE.fullmatch(path.name), path) for path in self._folder.glob("all-*"))
        return [(named[1], int(named[2]), path) for named, path in found if named]

    def _changes(self, history: str) -> list[tuple[int, int, Path]]:
        """In the order in which one leads to the next; of several that begin alike, the one that leads furthest last."""
        found = ((_CHANGES.fullmatch(path.name), path) for path in self._folder.glob("since-*"))
        return sorted((int(named[2]), int(named[3]), path) for named, path in found if named and named[1] == history)

    @contextlib.contextmanager
    def _saying_once(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as e:
            if not self._failed:
                log.error(
                    "the catalogue is not kept in %s, a start without its database will find an older one: %s", self._folder, e
                )
            self._failed = True
        else:
            self._failed = False


def _read(path: Path) -> Iterator[SnapshotRow]:
    with path.open("rb") as stream:
        for batch in pq.ParquetFile(stream).iter_batches(AT_ONCE):
            yield from map(SnapshotRow, *(batch.column(name).to_pylist() for name in _SCHEMA.names))


def _write_whole(path: Path, stock: Stock) -> None:
    with pq.ParquetWriter(path, _SCHEMA, compression="zstd") as writer:
        for kind, ids, bodies in _columns(stock):
            writer.write_table(
                pa.table([pa.array([kind] * len(ids)), pa.array(ids), pa.array(bodies, pa.binary())], schema=_SCHEMA)
            )


def _columns(stock: Stock) -> Iterator[tuple[str, list[str], list[bytes]]]:
    for kind, records in (("advertiser", stock.market.advertisers), ("campaign", stock.market.campaigns)):
        yield kind, [r.id for r in records], [stored(r).encode() for r in records]
    offers = stock.market.offers
    assert isinstance(offers, OfferTable)
    for start in range(0, len(offers), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        yield "offer", offers.ids[some].tolist(), offers.bodies[some].tolist()
