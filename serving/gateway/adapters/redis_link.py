"""The gateway's way to Redis: short time-outs, no retries that pile up, scripts by their hash."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError

from domain.errors import DependencyTimeout, Unavailable

CONNECT_TIMEOUT_S = 0.1
MAX_CONNECTIONS = 32
FAILURES_TO_OPEN = 3
OPEN_S = 0.25

SCRIPTS = Path(__file__).parents[2] / "lua"


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One run of `serving/lua/<script>.lua`; its head says what the keys and arguments are."""

    script: str
    keys: Sequence[str]
    args: Sequence[str | int | bytes]


class Breaker:
    """Fails fast for a moment after several failures in a row, so that requests do not queue for a Redis that is away."""

    def __init__(self) -> None:
        self._failures = 0
        self._open_until = 0.0

    def check(self) -> None:
        """Raises Unavailable while open."""
        if time.monotonic() < self._open_until:
            raise Unavailable("redis", f"not asked: the last {self._failures} calls failed")

    def record(self, *, ok: bool) -> None:
        """Takes note of how a call ended."""
        self._failures = 0 if ok else self._failures + 1
        self._open_until = time.monotonic() + OPEN_S if self._failures >= FAILURES_TO_OPEN else 0.0


class Verification:
    """Lets connections through to servers only whose money is known to be right, at the moment they connect.

    A restart or a fail-over ends all connections and makes a new run id, so that lost data is met here before it is used.
    """

    def __init__(self, verified: str) -> None:
        self._verified = verified

    async def on_connect(self, connection: Any) -> None:
        """Raises redis.ConnectionError for a server that has not been reconciled."""
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        info = (await connection.read_response()).decode()
        run_id = info.partition("run_id:")[2].partition("\r")[0]
        await connection.send_command("SISMEMBER", self._verified, run_id)
        if not await connection.read_response():
            raise RedisConnectionError(
                "the money of this server is not reconciled yet; the pacer does it, or offerrank reconcile --repair"
            )


class RedisLink:
    """One pool of connections and one breaker, shared by all adapters of a gateway.

    Args:
      verified: key of the set of servers whose money has been reconciled. A server that is not in it, such as one that was
        restarted without its data, is not talked to: it counts as away until the pacer has repaired it. None asks for nothing.
    """

    sharded = False
    """Whether keys of different partitions are on different servers, so that one script may not touch both."""

    def __init__(self, url: str, verified: str | None = None) -> None:
        # Blocking, because the plain pool connects under its lock: one hung connection would hold up all others.
        pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=CONNECT_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),  # type: ignore[no-untyped-call,unused-ignore]
            redis_connect_func=None if verified is None else Verification(verified).on_connect,
        )
        self.client: Redis = Redis(connection_pool=pool)
        self._breaker = Breaker()
        self._scripts = {path.stem: self.client.register_script(path.read_text("utf-8")) for path in SCRIPTS.glob("*.lua")}

    async def pipeline(self, fill: Callable[[Pipeline], object], timeout_s: float) -> list[Any]:
        """Sends what `fill` puts into a pipeline in one round trip; the replies, in order.

        Raises:
          DependencyTimeout: no answer in time; the commands may or may not have run.
          Unavailable: refused, disconnected, or Redis answered with an error.
        """

        async def send() -> list[Any]:
            pipe = self.client.pipeline(transaction=False)
            fill(pipe)
            return list(await pipe.execute())

        return await self._guarded(send, timeout_s)

    async def run(self, calls: Sequence[ScriptCall], timeout_s: float) -> list[Any]:
        """Runs scripts in one round trip, each atomic by itself; loads those Redis has forgotten. Errors as in `pipeline`."""

        async def send() -> list[Any]:
            replies = await self._evaluate(calls)
            missing = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if missing:
                for name in {calls[i].script for i in missing}:
                    await self.client.script_load(self._scripts[name].script)
                for i, reply in zip(missing, await self._evaluate([calls[i] for i in missing]), strict=True):
                    replies[i] = reply
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
            return replies

        return await self._guarded(send, timeout_s)

    async def _evaluate(self, calls: Sequence[ScriptCall]) -> list[Any]:
        pipe = self.client.pipeline(transaction=False)
        for call in calls:
            pipe.evalsha(self._scripts[call.script].sha, len(call.keys), *call.keys, *call.args)
        return list(await pipe.execute(raise_on_error=False))

    async def _guarded(self, send: Callable[[], Awaitable[list[Any]]], timeout_s: float) -> list[Any]:
        self._breaker.check()
        try:
            async with asyncio.timeout(timeout_s):
                replies = await send()
        except TimeoutError:
            self._breaker.record(ok=False)
            raise DependencyTimeout("redis", f"no answer within {timeout_s * 1000:.0f} ms") from None
        except (RedisError, OSError) as e:
            self._breaker.record(ok=False)
            raise Unavailable("redis", str(e) or type(e).__name__) from None
        self._breaker.record(ok=True)
        return replies

    async def close(self) -> None:
        """Closes all connections."""
        await self.client.aclose()
        await self.client.connection_pool.disconnect()
