"""The web SDK as pages load it. From here, it fits the API it calls, and a page's CSP names one host for both."""

import gzip
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

import sdk

SCRIPT: Final = sdk.SCRIPT.read_bytes()
_GZIPPED: Final = gzip.compress(SCRIPT, 9, mtime=0)
_HEADERS: Final = {
    # An hour, so that pages have a new gateway's script soon; what changes meanwhile is compatible.
    "cache-control": "public, max-age=3600, stale-while-revalidate=86400",
    "etag": f'"{sdk.integrity(SCRIPT)}"',
    "vary": "accept-encoding",
    # A browser checks `integrity` only of what it may read.
    "access-control-allow-origin": "*",
    "cross-origin-resource-policy": "cross-origin",
    "x-content-type-options": "nosniff",
}


def script_answer(request: Request) -> Response:
    """The script, gzipped for those who take that, or 304 for those who have it."""
    if _HEADERS["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=_HEADERS)
    zipped = "gzip" in request.headers.get("accept-encoding", "")
    headers = _HEADERS | ({"content-encoding": "gzip"} if zipped else {})
    return Response(_GZIPPED if zipped else SCRIPT, headers=headers, media_type="text/javascript")
