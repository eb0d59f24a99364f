"""Says by its exit code whether a process of OfferRank does its work, for the engine that runs its container.

    healthcheck.py http URL    the URL answers 2xx
    healthcheck.py pacer       some pacer leads the market
    healthcheck.py archiver    the archiver has written all it had within three of its intervals, and can still
    healthcheck.py watch       the watch took a turn within the last five minutes, and can write
    healthcheck.py skew        somebody checks for skew, as often as was asked for, and comes to an end

Reads OFFERRANK_MARKET, OFFERRANK_REDIS_URL and OFFERRANK_LOG_DIR as the processes do.
"""

import os
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import redis

    from domain.keys import Keys

TIMEOUT_S = 3.0
WATCH_TURN_S = 300.0
"""A turn that catches up with a long archive ends after 50 parts."""


def main(arguments: list[str]) -> str | None:
    """What is wrong, or None.

    Raises:
      OSError, redis.RedisError: nobody answers.
    """
    match arguments:
        case ["http", url]:
            urllib.request.urlopen(url, timeout=TIMEOUT_S).close()
            return None
        case ["pacer"]:
            client, keys = _redis()
            return None if client.exists(keys.pacer_lock) else "no pacer leads"
        case ["archiver"]:
            client, keys = _redis()
            beat_ms, interval_s, fault = client.hmget(keys.archiver, "beat_ms", "interval_s", "fault")
            if fault:
                return f"the archiver cannot write: {fault.decode(errors='replace')}"
            if beat_ms is None or interval_s is None:
                return "the archiver has not flushed yet"
            age_s = time.time() - int(beat_ms) / 1000
            return None if age_s <= 3 * float(interval_s) + 5 else f"the archiver flushed {age_s:.0f} s ago"
        case ["watch"]:
            client, keys = _redis()
            beat_ms, fault = client.hmget(keys.watch, "beat_ms", "fault")
            if fault:
                return f"the watch cannot go on: {fault.decode(errors='replace')}"
            if beat_ms is None:
                return "the watch has not taken a turn yet"
            age_s = time.time() - int(beat_ms) / 1000
            return None if age_s <= WATCH_TURN_S else f"the watch took its last turn {age_s:.0f} s ago"
        case ["skew"]:
            from monitoring.skew_beat import SkewBeat

            beat = SkewBeat.read(Path(os.environ["OFFERRANK_LOG_DIR"]))
            if beat is None:
                return "nothing has been checked yet"
            over = beat.is_over(time.time_ns() // 10**6)
            return f"nothing is checked any more: {beat.why or 'no turn for too long'}" if over else None
        case _:
            return f"usage: {__doc__}"


def _redis() -> "tuple[redis.Redis, Keys]":
    """Imports here: asking a URL needs none of it. Nor does any check need the market beyond its name."""
    from domain.keys import Keys
    from features.market_name import market_name
    from store import connect

    client = connect(os.environ["OFFERRANK_REDIS_URL"], TIMEOUT_S, TIMEOUT_S)
    return client, Keys(market_name(Path(os.environ["OFFERRANK_MARKET"])))


if __name__ == "__main__":
    try:
        problem = main(sys.argv[1:])
    except Exception as error:  # whatever it is, the process is not healthy
        problem = f"{type(error).__name__}: {error}"
    sys.exit(problem)
