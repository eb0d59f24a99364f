"""`/docs`: Swagger UI, whose files are in the environment, so that a machine without the internet shows the page as well.

They are those that the package `fastapi-offline` carries (Swagger UI is under Apache-2.0); its application is not used.
"""

from functools import cache
from importlib.resources import files

from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, Response

ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
"""File -> media type."""
NO_ICON = "data:,"
CACHED = {"cache-control": "private, max-age=86400"}


def api_page() -> HTMLResponse:
    """The page; all addresses in it are relative to it, so it may stand behind a proxy's prefix."""
    script, style = (f"docs/{name}" for name in ASSETS)
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title="OfferRank",
        swagger_js_url=script,
        swagger_css_url=style,
        swagger_favicon_url=NO_ICON,
        swagger_ui_parameters={"validatorUrl": None},  # else documents are sent to a validator on the internet
    )


def asset(name: str) -> Response | None:
    """One of the page's files; None of any other name."""
    return Response(_content(name), 200, CACHED, ASSETS[name]) if name in ASSETS else None


@cache
def _content(name: str) -> bytes:
    return (files("fastapi_offline") / "static" / name).read_bytes()
