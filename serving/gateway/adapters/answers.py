"""One answer to every id that requests bring, whichever gateways they reach and when."""

import asyncio
import contextlib
import hashlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable

from domain.errors import DependencyError
from domain.keys import Keys
from serving.gateway.adapters.redis_link import RedisLink, ScriptCall
from serving.gateway.ports import Made
from serving.gateway.wire import HttpError

REPLAY_MS = 300_000
CLAIM_MS = 5_000
"""Far longer than any decision takes; a gateway that dies with a claim keeps its id from being answered for so long."""
WAIT_S = 1.0
"""How long a request waits for the answer that another gateway is making."""
FIRST_PAUSE_S, LAST_PAUSE_S = 0.004, 0.064
TIMEOUT_S = 0.25
"""Longer than a decision, since deciding without a claim is what this is to prevent."""

# What is kept under an id: one of these bytes, the SHA-256 of the request, then a random number or the answer.
CLAIM, ANSWER = b"?", b"="

log = logging.getLogger(__name__)


class RedisAnswers:
    """The id is claimed before anything is decided, so a page asked for twice is decided, held and logged once.

    While Redis is away, only simultaneous requests at the same gateway share an answer.
    """

    def __init__(self, link: RedisLink, keys: Keys) -> None:
        self._link = link
        self._keys = keys
        self._under_way: dict[str, asyncio.Future[bytes]] = {}
        self._late: set[asyncio.Task[None]] = set()

    async def once(self, decision_id: str, request: bytes, decide: Callable[[], Awaitable[Made]]) -> bytes:
        """The first answer to this id; decides if there is none yet.

        Args:
          request: what was asked, in a form that does not depend on how it was written.
        Raises:
          HttpError: 409, the id was used for another request; 503, the first one is still being answered elsewhere.
        """
        print_ = hashlib.sha256(request).digest()
        if decision_id not in self._under_way:
            future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            self._under_way[decision_id] = future
            try:
                future.set_result(await self._first(self._keys.answer(decision_id), print_, decide))
            except BaseException as e:
                future.set_exception(e if isinstance(e, Exception) else HttpError(503, "id", "the first request was cancelled"))
                future.exception()  # marks it as seen: nobody else may be waiting
                raise
            finally:
                del self._under_way[decision_id]
            kept = future.result()
        else:
            kept = await asyncio.shield(self._under_way[decision_id])
        if kept[1 : 1 + len(print_)] != print_:
            raise HttpError(409, "id", "this id was used for another request", decision_id)
        return kept[1 + len(print_) :]

    async def _first(self, key: str, print_: bytes, decide: Callable[[], Awaitable[Made]]) -> bytes:
        """What is kept under the id; the claim of another request is returned as it is, without waiting for its answer."""
        claim = CLAIM + print_ + secrets.token_bytes(8)
        taken = await self._taken(key, claim, print_)
        if taken is not None:
            return taken
        try:
            made = await decide()
        except Exception:
            with contextlib.suppress(DependencyError):
                await self._put(key, claim, b"")
            raise
        own = ANSWER + print_ + made.answer
        try:
            while (kept := await self._put(key, claim, own)) != own:
                # The claim had expired meanwhile, or Redis had not answered it: another request was first, or soon is.
                if kept[: 1 + len(print_)] != CLAIM + print_:
                    log.warning("a decision was made for nothing, and its holds expire: another gateway has answered its id")
                    return kept
                await asyncio.sleep(LAST_PAUSE_S)
        except DependencyError:
            # Whoever asks here has waited long enough, whoever asks elsewhere still needs it.
            self._late.add(late := asyncio.create_task(self._put_late(key, claim, own)))
            late.add_done_callback(self._late.discard)
        made.log()
        return own

    async def _taken(self, key: str, claim: bytes, print_: bytes) -> bytes | None:
        """What another request has under the id, waited for if it is on its way; None if `claim` stands, or Redis is away."""
        give_up_s, pause_s, waiting = time.monotonic() + WAIT_S, FIRST_PAUSE_S, False
        while True:
            try:
                _, kept = await self._link.pipeline(
                    lambda pipe: pipe.set(key, claim, nx=True, px=CLAIM_MS).get(key),
                    TIMEOUT_S,
                )
                if kept == claim:
                    return None
                waiting = kept is None or kept[: 1 + len(print_)] == CLAIM + print_
                if not waiting:
                    return bytes(kept)
            except DependencyError:
                if not waiting:
                    return None
            if time.monotonic() > give_up_s:
                raise HttpError(503, "id", "the first request with this id is still being answered", None, {"retry-after": "1"})
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LAST_PAUSE_S)

    async def _put(self, key: str, claim: bytes, answer: bytes) -> bytes:
        """What is kept under the id from now on; nothing once a claim is given up."""
        (kept,) = await self._link.run([ScriptCall("answer", [key], [claim, answer, REPLAY_MS])], TIMEOUT_S)
        return bytes(kept or b"")

    async def _put_late(self, key: str, claim: bytes, answer: bytes) -> None:
        """Tries for as long as the claim stands."""
        give_up_s = time.monotonic() + CLAIM_MS / 1000
        while time.monotonic() < give_up_s:
            await asyncio.sleep(LAST_PAUSE_S)
            with contextlib.suppress(DependencyError):
                await self._put(key, claim, answer)
                return
