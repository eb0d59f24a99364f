"""Whether an archive may be trusted with the money of a Redis."""

import fcntl
import json
from pathlib import Path

import redis

from domain.errors import ContractError, Unavailable
from domain.keys import PARTITIONS, Keys
from features.log_archive import ORIGIN, StreamId
from serving.ledger.books import Charged


def check_books(client: "redis.Redis", keys: Keys, log_dir: Path, charged: Charged) -> None:
    """Whether these are the books of this market and this Redis, and not of another, or of an empty folder.

    Raises:
      Unavailable: no archiver has begun there.
      ContractError: they are another market's, or lack what Redis knows to be archived.
    """
    whose = _lock(log_dir)[0]
    if whose != keys.market:
        raise ContractError(f"{log_dir}: holds the log of market {whose!r}, not of {keys.market!r}")
    said = client.hgetall(keys.archiver)
    for partition in range(PARTITIONS):
        archived = StreamId.parse(said.get(f"events:{partition}", str(ORIGIN)))
        if archived > charged.position(partition):
            raise ContractError(
                f"{log_dir}: expected the archive up to {archived} of partition {partition}, got one up to "
                f"{charged.position(partition)}: it is not that of this Redis"
            )


def check_written(client: "redis.Redis", keys: Keys, log_dir: Path, servers: list[str]) -> None:
    """Whether the archive has all that its archiver has read: an earlier server may have lost what is only in its memory.

    Raises:
      Unavailable: no archiver has begun there, or one works there that has not seen these servers yet.
    """
    if _lock(log_dir)[1] and client.hget(keys.archiver, "servers") != ",".join(servers):
        raise Unavailable("ledger", "the archiver has not written yet what it read before")


def _lock(log_dir: Path) -> tuple[str, bool]:
    """Whose archive it is, and whether an archiver works there now."""
    lock = log_dir / "archiver.lock"
    try:
        with lock.open(encoding="utf-8") as file:
            whose = str(json.load(file)["market"])
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return whose, True
            return whose, False
    except FileNotFoundError:
        raise Unavailable("ledger", f"{log_dir}: no archiver has begun there") from None
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise Unavailable("ledger", f"{lock}: {e}") from None
