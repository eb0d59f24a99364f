"""What a request says beside its body: conditions, cursors, filters; every one is bounded, and a wrong one is named."""

import base64
import binascii
import hashlib
import re
from collections.abc import Collection

from starlette.requests import Request

from catalogue.kinds import Kind
from domain.refusals import OFFER_ID
from serving.campaigns.access import Who
from serving.campaigns.desk import ANY, Asked, not_there
from serving.gateway.wire import HttpError

IDS: dict[Kind, str] = {
    "advertiser": r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
    "campaign": r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
    "offer": OFFER_ID[1:-1],
}
REQUEST_KEY = r"[\x21-\x7e]{1,128}"
MOST = 500
USUAL = 50
LONGEST = 500
"""Characters of a reason, or of a text looked for."""


def check_id(entry_id: str, kind: Kind) -> str:
    """The id of an address; one that no entry can have is not there."""
    if not is_id(entry_id, kind):
        raise not_there(kind, entry_id)
    return entry_id


def is_id(given: object, kind: Kind) -> bool:
    """Whether an entry could have this id."""
    return isinstance(given, str) and re.fullmatch(IDS[kind], given) is not None


def only(request: Request, known: Collection[str]) -> None:
    """Raises HttpError 422 for a parameter that nobody reads."""
    for name in request.query_params:
        if name not in known:
            raise HttpError(422, name[:100], f"there is no such parameter: expected one of {', '.join(sorted(known)) or 'none'}")


def number(request: Request, name: str, least: int, most: int = 2**62) -> int | None:
    """A whole number among the parameters."""
    given = request.query_params.get(name)
    if given is None:
        return None
    if re.fullmatch(r"[0-9]{1,18}", given) is None or not least <= int(given) <= most:
        raise HttpError(422, name, f"expected a whole number from {least}" + (f" to {most}" if most < 2**62 else ""), given)
    return int(given)


def limit(request: Request) -> int:
    """How many are wanted at once."""
    return number(request, "limit", 1, MOST) or USUAL


def text(request: Request, name: str) -> str:
    """A printable text among the parameters, empty where it is not there."""
    given = request.query_params.get(name, "")
    if len(given) > LONGEST or re.search(r"[\x00-\x1f\x7f]", given):
        raise HttpError(422, name, f"expected at most {LONGEST} printable characters", given)
    return given


def cursor(request: Request) -> str:
    """The id after which a page begins."""
    given = request.query_params.get("cursor", "")
    try:
        found = base64.b64decode(given + "=" * (-len(given) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        found = "\0"
    if len(found) > 64 or "\0" in found:
        raise HttpError(422, "cursor", "expected `next` of the page before", given)
    return found


def to_cursor(last_id: str) -> str:
    """For the page after an id."""
    return base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def seen_version(request: Request) -> int:
    """The version of the entry that whoever asks has seen, by If-Match, or ANY; 0 by `If-None-Match: *`.

    Raises:
      HttpError: 428 where neither is there, 422 where it is no ETag of this API.
    """
    if request.headers.get("if-none-match", "").strip() == "*":
        return 0
    given = request.headers.get("if-match", "").strip()
    if not given:
        raise HttpError(428, "if-match", "expected the ETag of what is changed, or * for whatever it is")
    if given == "*":
        return ANY
    found = re.fullmatch(r'(?:W/)?"?([0-9]{1,18})"?', given)
    if found is None:
        raise HttpError(422, "if-match", 'expected an ETag such as "17"', given)
    return int(found[1])


def asked(request: Request, who: Who, body: bytes = b"") -> Asked:
    """A change that is asked for."""
    key = request.headers.get("idempotency-key")
    if key is not None and re.fullmatch(REQUEST_KEY, key) is None:
        raise HttpError(422, "idempotency-key", "expected 1 to 128 printable ASCII characters without spaces", key)
    conditions = [request.headers.get(name, "") for name in ("if-match", "if-none-match")]
    all_of_it = "\n".join([request.method, request.url.path, request.url.query, *conditions]).encode() + b"\n" + body
    return Asked(who, text(request, "why"), key, hashlib.sha256(all_of_it).hexdigest())
