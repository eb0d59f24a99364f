from collections.abc import Iterator
from pathlib import Path

import pytest
from known_catalogue import Shelf, everything

from catalogue.address import sqlite_url


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf(sqlite_url(tmp_path / "catalogue.sqlite"))
    yield shelf
    shelf.database.close()


@pytest.fixture
def shelf(empty: Shelf) -> Shelf:
    empty.change(*everything())
    return empty
