"""What comes in: JSON of a bounded size and depth, records from it with all that is wrong, and patches (RFC 7396)."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from catalogue.kinds import RECORDS, Entry, Kind
from domain.errors import InvalidChange
from domain.refusals import every_refusal
from serving.gateway.wire import HttpError, answer, field_path, parse_json, read_body

MAX_BODY = 1 << 20
MAX_BULK = 16 << 20
MAX_DEPTH = 32
JSON_TYPES = ("application/json", "application/merge-patch+json")


class Refused(HttpError):
    """Several things are wrong: the first as in any error, all of them beside it, in a bulk with the index of the edit."""

    def __init__(self, errors: list[tuple[int | None, HttpError]]) -> None:
        first = errors[0][1]
        super().__init__(first.status, first.field, first.message, first.got, first.headers)
        self.errors = errors

    def response(self) -> Response:
        """The answer."""
        each = [({} if i is None else {"index": i}) | {"error": e.body()} for i, e in self.errors]
        return answer({"error": self.body(), "errors": each}, self.status, self.headers)


async def read_json(request: Request, most: int = MAX_BODY) -> Any:
    """The body of a request.

    Raises:
      HttpError: 415 another content type, 413 too large, 400 no JSON, or too deep.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() not in JSON_TYPES:
        raise HttpError(415, "content-type", "expected application/json", content_type)
    given = parse_json(await read_body(request, most))
    if _is_deeper(given, MAX_DEPTH):
        raise HttpError(400, "body", f"expected JSON of at most {MAX_DEPTH} levels")
    return given


def _is_deeper(value: object, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [v for one in level for v in _within(one)]
        if not level:
            return False
    return True


def _within(value: object) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def merged(before: Any, patch: Any) -> Any:
    """JSON merge patch: null takes out, objects are merged, all else is replaced."""
    if not isinstance(patch, dict):
        return patch
    after = dict(before) if isinstance(before, dict) else {}
    for name, value in patch.items():
        if value is None:
            after.pop(name, None)
        else:
            after[name] = merged(after.get(name), value)
    return after


def to_record(kind: Kind, entry_id: str, given: object) -> Entry:
    """An advertiser, campaign or offer from JSON; its id may be left out where the address has it.

    Raises:
      Refused: all that is wrong with it.
    """
    if isinstance(given, Mapping) and entry_id:
        if given.get("id", entry_id) != entry_id:
            raise HttpError(422, "id", f"expected {entry_id!r}, as the address says", given["id"])
        given = {"id": entry_id, **given}
    record: Entry = to_model(RECORDS[kind], given)
    return record


def to_model(model: type[Any], given: object) -> Any:
    """Errors as in `to_record`."""
    try:
        return model.model_validate(given)
    except ValidationError as e:
        refusals = every_refusal(e, given, "an object")
        raise Refused(
            [(None, _of_field(r.location, r.key, r.sentence, r.got if r.has_got else None)) for r in refusals]
        ) from None


def _of_field(location: tuple[int | str, ...], key: str, sentence: str, got: object) -> HttpError:
    return HttpError(422, field_path((*location, *([key] if key else []))), sentence, got)


def of_change(error: InvalidChange, kind: Kind, entry_id: str) -> HttpError:
    """What the catalogue finds wrong with an entry, by the field of the entry."""
    field = error.field.removeprefix(f'{kind} "{entry_id}"').removeprefix(".")
    return HttpError(422, field or kind, error.expected)


def plain(record: BaseModel) -> dict[str, Any]:
    """All fields of a record as JSON has them."""
    return record.model_dump(mode="json")
