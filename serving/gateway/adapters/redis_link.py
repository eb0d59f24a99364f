"""The gateway's way to Redis: short time-outs, no retries that pile up, scripts by their hash."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError

from domain.errors import DependencyTimeout, Unavailable
from serving.gateway.adapters.breaker import Breaker
from store import connect_asyncio, parse_info, unsafe

CONNECT_TIMEOUT_S = 0.25
MAX_CONNECTIONS = 32
FAILURES_TO_OPEN = 3
OPEN_S = 0.25

NOT_THE_MASTER = ("READONLY", "MASTERDOWN", "CLUSTERDOWN", "LOADING")
"""In errors of a server, or of a script on it, that is none any more, or not yet: who connects anew finds the one that is."""

SCRIPTS = Path(__file__).parents[2] / "lua"


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One run of `serving/lua/<script>.lua`; its head says what the keys and arguments are."""

    script: str
    keys: Sequence[str]
    args: Sequence[str | int | bytes]


class Greeting:
    """Lets connections through to servers only that keep money, take it, and whose money is known to be right, as they connect.

    A restart or a fail-over ends all connections and makes a new run id, so that lost data is met here before it is used.
    """

    def __init__(self, verified: str | None) -> None:
        self._verified = verified

    async def on_connect(self, connection: Any) -> None:
        """Raises redis.ConnectionError for a server that is not to be talked to: it counts as away."""
        await connection.on_connect()
        # Both at once: connections are made where time is short.
        asked = [("INFO",), *([("SMEMBERS", self._verified)] if self._verified else [])]
        await connection.send_packed_command(connection.pack_commands(asked))
        info = parse_info(await connection.read_response())
        verified = await connection.read_response() if self._verified else None
        if problem := unsafe(info):
            raise RedisConnectionError(problem)
        if info.get("role") == "slave":
            raise RedisConnectionError("this server is a replica and takes no money")
        if verified is not None and str(info.get("run_id", "")).encode() not in verified:
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
        self.client: Redis = connect_asyncio(
            url,
            CONNECT_TIMEOUT_S,
            MAX_CONNECTIONS,
            Greeting(verified).on_connect,
            retry=Retry(NoBackoff(), 0),  # type: ignore[no-untyped-call,unused-ignore]
            lib_name=None,  # two round trips less
            lib_version=None,
        )
        self._breaker = Breaker("redis", FAILURES_TO_OPEN, OPEN_S)
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

    async def inspect(self, timeout_s: float) -> None:
        """Looks whether the servers still keep money: who does not is let go, and not connected to again until he does.

        Raises:
          DependencyTimeout, Unavailable: as `pipeline`.
        """
        (info,) = await self.pipeline(lambda pipe: pipe.info(), timeout_s)
        if unsafe(info):
            await self.client.connection_pool.disconnect()

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
            if any(word in str(e) for word in NOT_THE_MASTER):
                await self.client.connection_pool.disconnect()
            raise Unavailable("redis", str(e) or type(e).__name__) from None
        self._breaker.record(ok=True)
        return replies

    async def close(self) -> None:
        """Closes all connections."""
        await self.client.aclose()
        await self.client.connection_pool.disconnect()
