"""One stream on its way into files: read, buffered as Arrow, written by the hour, trimmed behind."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import redis

from domain.errors import ContractError
from features.log_archive import StreamId, archived_to, hour_of
from serving.archiver.files import discard_uncommitted, rejected_count, write_part
from serving.archiver.rows import Entry, LogFormat, Rejected

READ_AT_ONCE = 500  # entries; a decision with 100 candidates is about 10 kB


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Consecutive entries of one hour."""

    first: StreamId
    last: StreamId
    table: pa.Table
    rejected: list[Rejected]


class StreamArchiver:
    """Moves one stream into the archive. Its only lasting state is the names of the files it has written."""

    def __init__(self, client: "redis.Redis", key: str, log: LogFormat, log_dir: Path, batch_rows: int) -> None:
        discard_uncommitted(log_dir, log.name)
        self.log = log
        self.archived = archived_to(log_dir, log.name)
        self.rejected = rejected_count(log_dir, log.name)
        self._client, self._key, self._log_dir, self._batch_rows = client, key, log_dir, batch_rows
        self._read_to = self.archived
        self._chunks: list[_Chunk] = []

    @property
    def waiting(self) -> int:
        """Entries read and not yet written."""
        return sum(len(c.table) + len(c.rejected) for c in self._chunks)

    @property
    def full(self) -> bool:
        """Enough has been read to be written now."""
        return self.waiting >= self._batch_rows

    def check(self) -> None:
        """Refuses a Redis that would hand out ids the archive already has, so that new entries would pass for old ones.

        Raises:
          ContractError: its clock and its stream both lie before the last archived entry.
        """
        seconds, micros = self._client.time()
        try:
            newest = StreamId.parse(self._client.xinfo_stream(self._key)["last-generated-id"])
        except redis.ResponseError:  # no such stream yet
            newest = StreamId(0, 0)
        if newest < self.archived and seconds * 1000 + micros // 1000 < self.archived.ms:
            raise ContractError(
                f"{self.log.name}: the archive ends at {self.archived}, but the stream ends at {newest} and the clock of Redis "
                f"says {seconds * 1000 + micros // 1000}: correct the clock, or archive to another folder"
            )

    def read(self) -> None:
        """Buffers what is new, up to a full batch."""
        while not self.full:
            raw = self._client.xrange(self._key, min=f"({self._read_to}", count=READ_AT_ONCE)
            entries = [Entry(StreamId.parse(i), fields) for i, fields in raw]
            for _, same_hour in groupby(entries, key=lambda e: hour_of(e.id)):
                hour = list(same_hour)
                table, rejected = self.log.table(hour)
                self._chunks.append(_Chunk(hour[0].id, hour[-1].id, table, rejected))
                self._read_to = hour[-1].id
            if len(raw) < READ_AT_ONCE:
                return

    def flush(self) -> list[Path]:
        """Writes what is buffered, one part per hour.

        Raises:
          OSError: a part could not be written; it stays buffered and the next flush tries again.
        """
        written = []
        for _, same_hour in groupby(list(self._chunks), key=lambda c: hour_of(c.first)):
            hour = list(same_hour)
            first, last = hour[0].first, hour[-1].last
            rejected = [r for chunk in hour for r in chunk.rejected]
            table = pa.concat_tables([chunk.table for chunk in hour])
            written.append(write_part(self._log_dir, self.log.name, table, rejected, first, last))
            self.archived = last
            self.rejected += len(rejected)
            del self._chunks[: len(hour)]
        return written

    def trim(self, retention_ms: int) -> int:
        """Removes from the stream what is archived and older than `retention_ms` by the clock of Redis; how many."""
        seconds, micros = self._client.time()
        keep_ms = seconds * 1000 + micros // 1000 - retention_ms
        keep_from = min(StreamId(max(keep_ms, 0), 0), StreamId(self.archived.ms, self.archived.seq + 1))
        return int(self._client.xtrim(self._key, minid=str(keep_from), approximate=False))
