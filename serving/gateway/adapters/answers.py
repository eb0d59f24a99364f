"""Answers to requests that brought their own id, kept for a few minutes and replayed to retries."""

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable

from domain.errors import DependencyError
from domain.keys import Keys
from serving.gateway.adapters.redis_link import RedisLink
from serving.gateway.wire import HttpError

REPLAY_S = 300
TIMEOUT_S = 0.05


class RedisAnswers:
    """One answer per id. While Redis is away, only simultaneous retries at the same replica share an answer."""

    def __init__(self, link: RedisLink, keys: Keys) -> None:
        self._link = link
        self._keys = keys
        self._under_way: dict[str, asyncio.Future[bytes]] = {}

    async def once(self, decision_id: str, body: bytes, decide: Callable[[], Awaitable[bytes]]) -> bytes:
        """The first answer to this id; decides if there is none yet.

        Raises:
          HttpError: 409, the id was used for another request.
        """
        print_ = hashlib.sha256(body).digest()
        if decision_id not in self._under_way:
            future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            self._under_way[decision_id] = future
            try:
                future.set_result(await self._stored(decision_id) or await self._store(decision_id, print_ + await decide()))
            except BaseException as e:
                future.set_exception(e if isinstance(e, Exception) else HttpError(503, "id", "the first request was cancelled"))
                future.exception()  # marks it as seen: nobody else may be waiting
                raise
            finally:
                del self._under_way[decision_id]
            stored = future.result()
        else:
            stored = await asyncio.shield(self._under_way[decision_id])
        if stored[: len(print_)] != print_:
            raise HttpError(409, "id", "this id was used for another request", decision_id)
        return stored[len(print_) :]

    async def _stored(self, decision_id: str) -> bytes | None:
        try:
            (stored,) = await self._link.pipeline(lambda pipe: pipe.get(self._keys.answer(decision_id)), TIMEOUT_S)
        except DependencyError:
            return None
        return bytes(stored) if stored is not None else None

    async def _store(self, decision_id: str, answer: bytes) -> bytes:
        with contextlib.suppress(DependencyError):
            await self._link.pipeline(lambda pipe: pipe.set(self._keys.answer(decision_id), answer, ex=REPLAY_S), TIMEOUT_S)
        return answer
