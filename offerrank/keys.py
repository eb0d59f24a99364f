"""`offerrank keys`: who may ask the gateway for what."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import typer

from domain.errors import InvalidKeys
from store.key_records import KeyRecord, Role, changing, new_text, read_keys, record_of

PUBLISHER_PER_SECOND = 100.0


def create(
    path: Path,
    name: str,
    role: Role,
    origins: tuple[str, ...] = (),
    per_second: float | None = None,
    lives_s: int | None = None,
    advertisers: tuple[str, ...] = (),
) -> str:
    """A new key, of which the file keeps the hash.

    Raises:
      InvalidKeys: the name is or was another key's, or something about the key is wrong.
    """
    if origins and role is not Role.PUBLISHER:
        raise InvalidKeys("--origin", "origins for a publisher's key only: pages cannot keep another one's", ", ".join(origins))
    text = new_text(role)
    lives = timedelta(seconds=lives_s) if lives_s else None
    given = {"origins": origins, "advertisers": advertisers}
    record = record_of(text, name, role, datetime.now(UTC), **given, per_second=per_second, lives=lives)
    with changing(path) as records:
        if any(r.name == name for r in records):
            # Even one that was revoked: its name stands in the log for who asked.
            raise InvalidKeys("name", "a name that no other key has or had", name)
        records.append(record)
    return text


def revoke(path: Path, name: str) -> None:
    """Ends all keys of a name; its record stays.

    Raises:
      InvalidKeys: no key of this name is left.
    """
    now = datetime.now(UTC)
    with changing(path) as records:
        _expire(records, name, now, now)


def rotate(path: Path, name: str, overlap_s: int) -> str:
    """A second key of the same name, role, origins, advertisers and rate; those before it end after the overlap.

    Raises:
      InvalidKeys: no key of this name is left.
    """
    now = datetime.now(UTC)
    with changing(path) as records:
        last = _expire(records, name, now, now + timedelta(seconds=overlap_s))
        text = new_text(last.role)
        lives = last.expires - last.created if last.expires else None
        given = {"origins": last.origins, "advertisers": last.advertisers}
        records.append(record_of(text, name, last.role, now, **given, per_second=last.per_second, lives=lives))
    return text


def _expire(records: list[KeyRecord], name: str, now: datetime, at: datetime) -> KeyRecord:
    """Lets every living key of a name end at `at` or before; the newest of them as it was."""
    living = [i for i, r in enumerate(records) if r.name == name and (r.expires is None or r.expires > now)]
    if not living:
        raise InvalidKeys("name", "the name of a key that has not ended", name)
    newest = records[living[-1]]
    for i in living:
        expires = records[i].expires
        records[i] = records[i].model_copy(update={"expires": at if expires is None else min(at, expires)})
    return newest


def show(path: Path, as_json: bool) -> None:
    """Prints what is kept of all keys.

    Raises:
      InvalidKeys: the file is damaged.
    """
    now, records = datetime.now(UTC), read_keys(path)
    for r in records:
        if as_json:
            typer.echo(r.model_dump_json(exclude_none=True))
            continue
        ended = "" if r.expires is None else f", {'ended' if r.expires <= now else 'ends'} {_time(r.expires)}"
        rate = "" if r.per_second is None else f", {r.per_second:g} a second"
        origins = "".join(f", {origin}" for origin in r.origins) + "".join(f", advertiser {a}" for a in r.advertisers)
        typer.echo(f"{r.name}: {r.role}, created {_time(r.created)}{ended}{rate}{origins}")
    if not records and not as_json:
        typer.echo(f"{path} has no keys")


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")
