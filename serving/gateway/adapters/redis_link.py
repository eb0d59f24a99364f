"""The gateway's way to Redis: short time-outs, no retries that pile up, scripts by their hash."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import NoScriptError

from domain.errors import DependencyTimeout, Unavailable
from serving.gateway.adapters.deadline import until
from serving.gateway.adapters.redis_servers import Command, Server, has_moved, key_of, servers_of
from store import unsafe

SCRIPTS = Path(__file__).parents[2] / "lua"
ATTEMPTS = 3
"""A script may be unknown to the server that a key has moved to."""


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One run of `serving/lua/<script>.lua`; its head says what the keys and arguments are."""

    script: str
    keys: Sequence[str]
    args: Sequence[str | int | bytes]


class RedisLink:
    """The connections of a gateway, shared by all its adapters.

    Args:
      url: of a server, of Sentinels or of a cluster.
      verified: key of the set of servers whose money has been reconciled. A server that is not in it, such as one that was
        restarted without its data, is not talked to: it counts as away until the pacer has repaired it. None asks for nothing.
    """

    def __init__(self, url: str, verified: str | None = None) -> None:
        self._servers = servers_of(url, verified)
        # Never connected: makes the commands that go to whichever server has the key.
        self._drafts = Redis()
        self._scripts = {path.stem: self._drafts.register_script(path.read_text("utf-8")) for path in SCRIPTS.glob("*.lua")}

    @property
    def sharded(self) -> bool:
        """Whether keys of different partitions may be on different servers, so that one script may not touch both."""
        return self._servers.sharded

    async def pipeline(self, fill: Callable[[Pipeline], object], timeout_s: float) -> list[Any]:
        """Sends what `fill` puts into a pipeline in one round trip to each server concerned; the replies, in order.

        Raises:
          DependencyTimeout: no answer in time; the commands may or may not have run.
          Unavailable: refused, disconnected, or Redis answered with an error.
        """
        draft = self._drafts.pipeline(transaction=False)
        fill(draft)
        return await self._send(draft.command_stack, timeout_s)

    async def run(self, calls: Sequence[ScriptCall], timeout_s: float) -> list[Any]:
        """Runs scripts in one round trip to each server concerned, each atomic by itself. Errors as in `pipeline`."""
        commands: list[Command] = [(("EVALSHA", self._scripts[c.script].sha, len(c.keys), *c.keys, *c.args), {}) for c in calls]
        return await self._send(commands, timeout_s)

    async def inspect(self, timeout_s: float) -> None:
        """Looks whether the servers still keep money: who does not is let go, and not connected to again until he does.

        Raises:
          DependencyTimeout, Unavailable: as `pipeline`.
        """
        ask: list[Command] = [(("INFO",), {})]
        for server in self._servers.all():
            (info,) = await self._within(timeout_s, partial(server.send, ask))
            if isinstance(info, dict) and unsafe(info):
                await server.forget_connections()

    async def _send(self, commands: Sequence[Command], timeout_s: float) -> list[Any]:
        replies = await self._within(timeout_s, partial(self._deliver, commands))
        for reply in replies:
            if isinstance(reply, Exception):
                raise Unavailable("redis", str(reply) or type(reply).__name__)
        return replies

    async def _within(self, timeout_s: float, call: Callable[[float], Awaitable[list[Any]]]) -> list[Any]:
        end_s = asyncio.get_running_loop().time() + timeout_s
        try:
            return await until(end_s, call(end_s))
        except TimeoutError:
            self._servers.doubt()
            raise DependencyTimeout("redis", f"no answer within {timeout_s * 1000:.0f} ms") from None
        except Unavailable:
            self._servers.doubt()
            raise

    async def _deliver(self, commands: Sequence[Command], end_s: float) -> list[Any]:
        """Replies and errors, in order. Follows keys that have moved, and loads scripts that a server does not know."""
        replies: list[Any] = [None] * len(commands)
        todo = list(range(len(commands)))
        for _ in range(ATTEMPTS):
            sent = [self._fill(replies, server, commands, part, end_s) for server, part in (await self._parts(commands, todo))]
            await (sent[0] if len(sent) == 1 else asyncio.gather(*sent))
            todo = [i for i in todo if isinstance(replies[i], NoScriptError) or has_moved(replies[i])]
            if not todo:
                break
            if any(has_moved(replies[i]) for i in todo):
                await self._servers.look_again()
        return replies

    async def _parts(self, commands: Sequence[Command], todo: list[int]) -> Iterable[tuple[Server, list[int]]]:
        """What goes where; a command without a key goes where another does."""
        if not self.sharded:
            return [(await self._servers.having(None), todo)]
        keys = [key_of(commands[i]) for i in todo]
        usual = next((key for key in keys if key is not None), None)
        parts: dict[Server, list[int]] = {}
        for i, key in zip(todo, keys, strict=True):
            parts.setdefault(await self._servers.having(usual if key is None else key), []).append(i)
        return parts.items()

    async def _fill(self, replies: list[Any], server: Server, commands: Sequence[Command], part: list[int], end_s: float) -> None:
        for i, reply in zip(part, await server.send([commands[i] for i in part], end_s), strict=True):
            replies[i] = reply
        unknown = {commands[i][0][1] for i in part if isinstance(replies[i], NoScriptError)}
        if unknown:
            texts = [script.script for script in self._scripts.values() if script.sha in unknown]
            await server.send([(("SCRIPT LOAD", text), {}) for text in texts], end_s)

    async def close(self) -> None:
        """Ends all connections."""
        await self._servers.close()
        await self._drafts.aclose()
