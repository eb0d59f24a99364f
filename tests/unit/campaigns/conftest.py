from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign_office import Office, opened
from known_catalogue import everything

from catalogue.address import sqlite_url


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Office]:
    """Before there is a catalogue."""
    office = opened(sqlite_url(tmp_path / "catalogue.sqlite"), tmp_path / "keys.jsonl")
    yield office
    office.shelf.database.close()


@pytest.fixture
def office(fresh: Office) -> Office:
    """What the golden market lists is version 1."""
    fresh.shelf.change(*everything())
    return fresh
