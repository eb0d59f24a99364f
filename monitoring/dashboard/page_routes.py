"""The pages, what they are made of, the log-in, and what is answered when something is wrong."""

import gzip
import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, ValidationError

from domain.errors import InvalidRequest, Unavailable
from monitoring.dashboard.access import COOKIE, SESSION_MS, Access, Looking, Refused, Visitor, check_same_origin
from monitoring.dashboard.answers import body_of, json_answer
from monitoring.incidents import NoSuchIncident
from store.sqlite import FileUnavailable

STATIC = Path(__file__).parent / "static"
# Nothing is loaded from elsewhere. Plotly writes style elements, and draws its icons from data: addresses.
CONTENT_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; frame-ancestors 'none'; "
    "form-action 'self'; base-uri 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
VIEWS: Final = {
    "/": ("now", "plots.js", "incidents.js", "now.js"),
    "/incidents/{name}": ("incident", "plots.js", "incidents.js", "incident.js"),
    "/features": ("features", "plots.js", "features.js"),
    "/features/{name:path}": ("feature", "plots.js", "feature.js"),
    "/predictions": ("predictions", "plots.js", "predictions.js"),
    "/campaigns": ("campaigns", "campaigns.js"),
    "/campaigns/{name:path}": ("campaign", "plots.js", "campaign.js"),
    "/decisions": ("decisions", "decisions.js", "search.js"),
    "/decisions/{name}": ("decision", "decisions.js", "lineage.js", "decision.js"),
    "/releases": ("releases", "plots.js", "releases.js"),
    "/releases/{name}": ("release", "lineage.js", "release.js"),
    "/pipeline": ("pipeline", "pipeline.js"),
    "/live": ("live", "plots.js", "charts.js", "decisions.js", "page.js"),
}
"""Address -> document and scripts; what it shows of a name, it asks for itself."""
TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
LARGEST_LOG_IN = 1_024


class LogIn(BaseModel):
    """What one logs in with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str


def page_routes() -> APIRouter:
    """Documents, scripts and sessions."""
    router = APIRouter()
    for address, (document, *scripts) in VIEWS.items():
        router.add_api_route(address, _view(document, tuple(scripts)), methods=["GET"])

    @router.get("/login")
    def login(request: Request) -> Response:
        access: Access = request.app.state.access
        return _html("login", ("login.js",)) if access.by_key else RedirectResponse("/", 303)

    @router.post("/api/session")
    async def log_in(request: Request) -> Response:
        check_same_origin(request)
        access: Access = request.app.state.access
        try:
            token = access.log_in(LogIn.model_validate_json(await body_of(request, LARGEST_LOG_IN)).key)
        except ValidationError:
            raise InvalidRequest("key", "is missing") from None
        made = Response(b"{}", media_type="application/json")
        is_https = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
        # Lax: a link to an incident in a chat or mail opens it, and no other site can post.
        made.set_cookie(COOKIE, token, max_age=SESSION_MS // 1000, httponly=True, samesite="lax", secure=is_https)
        return made

    @router.delete("/api/session")
    def log_out(request: Request) -> Response:
        check_same_origin(request)
        access: Access = request.app.state.access
        access.log_out(request)
        made = Response(b"{}", media_type="application/json")
        made.delete_cookie(COOKIE)
        return made

    @router.get("/api/session")
    def session(who: Looking) -> Response:
        said = {"name": who.name, "has_session": who.has_session}
        return json_answer(said)

    @router.get("/plotly.js")
    def plotly(request: Request) -> Response:
        headers = {"Cache-Control": "public, max-age=86400", "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(plotly_bundle(), media_type="text/javascript", headers=headers | {"Content-Encoding": "gzip"})
        return Response(gzip.decompress(plotly_bundle()), media_type="text/javascript", headers=headers)

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        files = {path.name: path for path in STATIC.iterdir() if path.suffix in TYPES}
        if name not in files:
            return Response(b"no such file", 404, media_type="text/plain")
        headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        return Response(files[name].read_bytes(), media_type=TYPES[files[name].suffix], headers=headers)

    return router


def answer_errors(app: FastAPI) -> None:
    """One line of JSON for what was raised on purpose; a page that wants a log-in sends there, and back."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        access: Access = request.app.state.access
        if error.status == 401 and request.method == "GET" and access.by_key and not request.url.path.startswith("/api/"):
            asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/login?next={quote(asked)}", 303, headers={"Cache-Control": "no-store"})
        return _said(error.status, error)

    @app.exception_handler(InvalidRequest)
    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, InvalidRequest)
        return _said(404 if isinstance(error, NoSuchIncident) else 400, error)

    @app.exception_handler(FileUnavailable)
    async def unavailable(_: Request, error: Exception) -> Response:
        return _said(503, error)


def _view(document: str, scripts: tuple[str, ...]) -> Callable[[Visitor], Response]:
    def view(_: Looking) -> Response:
        return _html(document, scripts)

    return view


def _html(document: str, scripts: tuple[str, ...]) -> Response:
    """A document within the frame that all have."""
    libraries = ["/plotly.js"] if "plots.js" in scripts else []
    sources = [*libraries, *(f"/static/{name}" for name in ("format.js", "frame.js", *scripts))]
    tags = "\n".join(f'  <script src="{source}" defer></script>' for source in sources)
    frame = (STATIC / "frame.html").read_text("utf-8")
    made = frame.replace("  <!-- scripts -->", tags).replace("<!-- main -->", (STATIC / f"{document}.html").read_text("utf-8"))
    return Response(made.replace("<!-- view -->", document), media_type="text/html", headers=HEADERS)


def _said(status: int, error: Exception) -> Response:
    return json_answer({"error": str(error)}, status)


@cache
def plotly_bundle() -> bytes:
    """plotly.js from the installed package, gzipped; the package itself, which is slow to import, is not.

    Raises:
      Unavailable: it is not where it should be.
    """
    spec = importlib.util.find_spec("plotly")
    bundle = Path(spec.origin).parent / "package_data" / "plotly.min.js" if spec and spec.origin else None
    if bundle is None or not bundle.exists():
        raise Unavailable("plotly", f"no plotly.min.js in the installed package ({bundle})")
    return gzip.compress(bundle.read_bytes(), compresslevel=6)
