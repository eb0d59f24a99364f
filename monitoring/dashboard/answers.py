"""What the page's routes read and write alike: JSON that nobody keeps, and bodies that cannot be long."""

import orjson
from fastapi import Request, Response

from domain.errors import InvalidRequest

LATEST_MS = 253_370_764_800_000
"""Near the end of the year 9998: the latest time that everybody who is told it can say."""


def json_answer(said: object, status: int = 200) -> Response:
    """Args: said: what JSON can hold; bytes are JSON already."""
    body = said if isinstance(said, bytes) else orjson.dumps(said)
    return Response(body, status, media_type="application/json", headers={"Cache-Control": "no-store"})


async def body_of(request: Request, most: int) -> bytes:
    """The body, of at most so many bytes.

    Raises:
      InvalidRequest: it is longer; no more of it is read.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise InvalidRequest("body", f"at most {most} bytes", f"{len(body)} and more")
    return body
