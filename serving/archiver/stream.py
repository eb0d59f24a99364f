"""A log on its way into files: its streams read, buffered as Arrow, written by the hour, trimmed behind."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import redis

from domain.errors import ContractError
from features.log_archive import Archived, StreamId, archived, hour_of
from serving.archiver.files import discard_uncommitted, rejected_count, write_part
from serving.archiver.rows import Entry, LogFormat, Rejected

READ_AT_ONCE = 512  # entries over all streams


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Entries of one hour, of each stream consecutive ones. Of many streams at once, since a table costs more than its rows."""

    hour: str
    first: dict[int, StreamId]
    """By stream."""
    last: dict[int, StreamId]
    table: pa.Table
    rejected: list[Rejected]


class LogArchiver:
    """Moves the streams of one log into the archive. Its only lasting state is what its newest part says.

    On a Redis Cluster the streams lie in different slots: no command here touches two of them.

    Args:
      keys: of the streams; `features.log_archive.Archived` numbers them in this order.
    """

    def __init__(self, client: "redis.Redis", keys: Sequence[str], log: LogFormat, log_dir: Path, batch_rows: int) -> None:
        discard_uncommitted(log_dir, log.name)
        self.log = log
        self.archived = archived(log_dir, log.name)
        self.rejected = rejected_count(log_dir, log.name)
        self._client, self._keys, self._log_dir, self._batch_rows = client, keys, log_dir, batch_rows
        self._read_to = [self.archived.to(stream) for stream in range(len(keys))]
        self._read_ms = [self.archived.complete_ms] * len(keys)
        self._chunks: list[_Chunk] = []

    @property
    def waiting(self) -> int:
        """Entries read and not yet written."""
        return sum(len(c.table) + len(c.rejected) for c in self._chunks)

    @property
    def full(self) -> bool:
        """Enough has been read to be written now."""
        return self.waiting >= self._batch_rows

    @property
    def position(self) -> dict[str, str]:
        """The last archived entry of each stream, by the log's name, or `<log>:<number>` where there are several."""
        several = len(self._keys) > 1
        return {f"{self.log.name}:{s}" if several else self.log.name: str(self.archived.to(s)) for s in range(len(self._keys))}

    def check(self) -> None:
        """Refuses a Redis that would hand out ids the archive already has, so that new entries would pass for old ones.

        Raises:
          ContractError: its clock and a stream both lie before the last archived entry.
        """
        now_ms = _time_ms(self._client)
        for stream, newest in enumerate(self._newest()):
            last = self.archived.to(stream)
            if newest < last and now_ms < last.ms:
                raise ContractError(
                    f"{self.log.name}: the archive ends at {last}, but the stream {self._keys[stream]} ends at {newest} and the "
                    f"clock of Redis says {now_ms}: correct the clock, or archive to another folder"
                )

    def lost(self) -> bool:
        """Whether Redis no longer knows of something that was read from it and is not written yet."""
        return bool(self._chunks) and any(n < read for n, read in zip(self._newest(), self._read_to, strict=True))

    def _newest(self) -> list[StreamId]:
        """The last id that each stream gave out."""
        with self._client.pipeline(transaction=False) as ends:
            for key in self._keys:
                ends.xinfo_stream(key)
            replies = ends.execute(raise_on_error=False)
        newest = []
        for info in replies:
            if isinstance(info, Exception) and not isinstance(info, redis.ResponseError):
                raise info
            newest.append(StreamId(0, 0) if isinstance(info, Exception) else StreamId.parse(info["last-generated-id"]))
        return newest

    def read(self) -> None:
        """Buffers what is new, up to a full batch."""
        unread = list(range(len(self._keys)))
        while unread and not self.full:
            count = max(READ_AT_ONCE // len(unread), 1)
            now_ms = _time_ms(self._client)
            with self._client.pipeline(transaction=False) as ranges:
                for stream in unread:
                    ranges.xrange(self._keys[stream], min=f"({self._read_to[stream]}", count=count)
                replies = ranges.execute()
            read = dict(zip(unread, replies, strict=True))
            self._buffer([Entry(StreamId.parse(i), fields, stream) for stream, raw in read.items() for i, fields in raw])
            for stream, raw in read.items():
                if len(raw) < count:
                    self._read_ms[stream] = now_ms
                    unread.remove(stream)

    def _buffer(self, entries: list[Entry]) -> None:
        by_hour: dict[str, list[Entry]] = {}
        for entry in entries:
            by_hour.setdefault(hour_of(entry.id.ms), []).append(entry)
        for hour, within in sorted(by_hour.items()):
            table, rejected = self.log.table(within)
            last = {e.stream: e.id for e in within}
            self._chunks.append(_Chunk(hour, {e.stream: e.id for e in reversed(within)}, last, table, rejected))
            for stream, newest in last.items():
                self._read_to[stream], self._read_ms[stream] = newest, newest.ms

    def flush(self) -> list[Path]:
        """Writes what is buffered, one part per hour: the entries of a stream come in the stream's order.

        Raises:
          OSError: a part could not be written; it stays buffered and the next flush tries again.
        """
        written = []
        for hour in sorted({c.hour for c in self._chunks}):
            now = [c for c in self._chunks if c.hour == hour]
            later = [c for c in self._chunks if c.hour != hour]
            to = self._archived_with(now, later)
            table = pa.concat_tables([c.table for c in now])
            rejected = [r for c in now for r in c.rejected]
            first, last = min(i for c in now for i in c.first.values()), max(i for c in now for i in c.last.values())
            written.append(write_part(self._log_dir, self.log.name, table, rejected, first, last, to))
            self.archived, self._chunks = to, later
            self.rejected += len(rejected)
        return written

    def _archived_with(self, now: list[_Chunk], later: list[_Chunk]) -> Archived:
        last = {**self.archived.last, **{stream: i for c in now for stream, i in c.last.items()}}
        # A stream is complete up to when it was last read to its end, or to the first of its entries that waits.
        complete = dict(enumerate(self._read_ms)) | {s: i.ms for c in reversed(later) for s, i in c.first.items()}
        return Archived(self.archived.number + 1, last, max(min(complete.values()), self.archived.complete_ms))

    def trim(self, retention_ms: int) -> None:
        """Removes from the streams what is archived and older than `retention_ms` by the clock of Redis."""
        keep_from = StreamId(max(_time_ms(self._client) - retention_ms, 0), 0)
        with self._client.pipeline(transaction=False) as trims:
            for stream, key in enumerate(self._keys):
                last = self.archived.to(stream)
                trims.xtrim(key, minid=str(min(keep_from, StreamId(last.ms, last.seq + 1))), approximate=False)
            trims.execute()


def _time_ms(client: "redis.Redis") -> int:
    """By the clock of Redis; of a cluster, by that which is most behind."""
    if isinstance(client, redis.RedisCluster):
        return min(_ms(one) for one in client.time(target_nodes=redis.RedisCluster.PRIMARIES).values())
    return _ms(client.time())


def _ms(time: tuple[int, int]) -> int:
    seconds, micros = time
    return int(seconds) * 1000 + int(micros) // 1000
