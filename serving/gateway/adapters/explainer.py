"""Explains logged decisions in a process of its own: that takes TensorFlow, some seconds, and nothing of this one."""

import asyncio
import contextlib
import logging
import os
import sys

from serving.gateway.settings import GatewaySettings
from serving.gateway.wire import HttpError
from serving.replay import GONE, UNKNOWN

TIMEOUT_S = 120.0
LONGEST_ID = 1024
FIELD = "id"

log = logging.getLogger(__name__)


class Explainer:
    """One at a time; who asks meanwhile is told to come back.

    Args:
      settings: of a gateway that knows the log.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        named = {n: getattr(settings, n) for n in ("log_dir", "releases", "catalogue", "market", "redis_url")}
        # Not as arguments, which other users of this machine see: addresses have passwords.
        self._environment = os.environ | {f"OFFERRANK_{n.upper()}": str(v) for n, v in named.items() if v is not None}
        self._busy = asyncio.Lock()

    async def explained(self, decision_id: str) -> bytes:
        """JSON, in the shape of schema.LoggedExplanation.

        Raises:
          HttpError: 404 there is no such decision, 410 what it was made with is gone, 503 too much to do.
        """
        if not decision_id.isprintable() or len(decision_id) > LONGEST_ID:
            raise HttpError(404, FIELD, "no decision has such an id", decision_id)
        if self._busy.locked():
            raise HttpError(503, FIELD, "another decision is being explained", decision_id, {"retry-after": "5"})
        async with self._busy:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "serving.replay", decision_id),
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                output, said = await asyncio.wait_for(child.communicate(), TIMEOUT_S)
            except TimeoutError:
                raise HttpError(
                    503, FIELD, f"not explained within {TIMEOUT_S:.0f} s", decision_id, {"retry-after": "60"}
                ) from None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
        if child.returncode == 0:
            return output
        lines = said.decode(errors="replace").strip().splitlines()
        why = lines[-1] if lines else f"the process that explains ended with {child.returncode}"
        status = {UNKNOWN: 404, GONE: 410}.get(child.returncode or 0, 500)
        if status == 500:
            log.error("%s could not be explained: %s", decision_id, "\n".join(lines) or why)
            why = "our mistake; it was logged"
        raise HttpError(status, FIELD, why, decision_id)
