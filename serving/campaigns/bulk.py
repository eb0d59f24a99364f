"""Many edits in one request, all or nothing."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from catalogue.kinds import Kind
from serving.campaigns import asking
from serving.campaigns.bodies import Refused, to_model
from serving.campaigns.desk import ANY, Wanted, patching
from serving.gateway.wire import HttpError

MOST_EDITS = 10_000


class EditBody(BaseModel):
    """One edit."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    op: Literal["create", "put", "patch", "delete"]
    """`put` replaces what is there, `patch` merges into it (RFC 7396)."""
    kind: Kind
    id: str = ""
    """May be left out where `value` has it."""
    version: int | None = Field(default=None, ge=0)
    """The entry's, as it was seen; without it, whatever it is."""
    value: dict[str, Any] | None = None
    """All but `delete` have one."""


class BulkBody(BaseModel):
    """Up to 10,000 edits of different entries."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {
                    "edits": [
                        {"op": "patch", "kind": "campaign", "id": "spring", "version": 17, "value": {"bid_micros": 450_000}},
                        {"op": "delete", "kind": "offer", "id": "spring-shoes"},
                    ]
                }
            ]
        },
    )

    edits: list[EditBody] = Field(min_length=1, max_length=MOST_EDITS)
    """In any order: an offer may come before its campaign."""


def read_bulk(given: Any) -> list[Wanted]:
    """The edits.

    Raises:
      Refused: what is wrong with their form, by index.
    """
    edits = given.get("edits") if isinstance(given, dict) else None
    if not isinstance(edits, list) or not 1 <= len(edits) <= MOST_EDITS or len(given) > 1:
        raise HttpError(422, "edits", f"expected an object with nothing but a list of 1 to {MOST_EDITS} edits")
    wanted, wrong = list[Wanted](), list[tuple[int | None, HttpError]]()
    for i, edit in enumerate(edits):
        try:
            wanted.append(_wanted(to_model(EditBody, edit)))
        except Refused as e:
            wrong += [(i, one) for _, one in e.errors]
        except HttpError as e:
            wrong.append((i, e))
    if wrong:
        raise Refused(wrong)
    return wanted


def _wanted(edit: EditBody) -> Wanted:
    value = edit.value
    if (value is None) != (edit.op == "delete"):
        raise HttpError(422, "value", "expected one" if value is None else "expected none to delete")
    name = edit.id or (value or {}).get("id")
    if not asking.is_id(name, edit.kind):
        raise HttpError(422, "id", f"expected the id of the {edit.kind}", name)
    version = 0 if edit.op == "create" else ANY if edit.version is None else edit.version
    make = patching(value) if edit.op == "patch" else lambda _: value
    return Wanted(edit.kind, str(name), make, version, value)
