"""The corner market, and an archive made of given entries as the archiver makes it."""

from collections.abc import Callable, Iterable
from pathlib import Path

import log_entries
import pytest

from domain.events import Decision
from features.log_archive import StreamId
from features.market import Market, load_market
from serving.archiver.files import write_part
from serving.archiver.rows import Entry, log_formats

Archive = Callable[[Iterable[Decision], Iterable[dict[bytes, bytes]]], Path]


@pytest.fixture
def market_file(tmp_path: Path) -> Path:
    path = tmp_path / "market.toml"
    path.write_text(log_entries.MARKET_TOML)
    return path


@pytest.fixture
def market(market_file: Path) -> Market:
    return load_market(market_file)


@pytest.fixture
def archive(tmp_path: Path, market: Market) -> Archive:
    """Writes decisions and events into parts of two entries and returns the log folder."""

    def write(decisions: Iterable[Decision], events: Iterable[dict[bytes, bytes]]) -> Path:
        log_dir = tmp_path / "log"
        entries = {"decisions": [log_entries.decision_fields(d) for d in decisions], "events": list(events)}
        for log in log_formats(market):
            numbered = [Entry(StreamId(1_000_000_000 + i, 0), fields) for i, fields in enumerate(entries[log.name])]
            for start in range(0, len(numbered), 2):
                two = numbered[start : start + 2]
                table, rejected = log.table(two)
                assert not rejected
                write_part(log_dir, log.name, table, rejected, two[0].id, two[-1].id)
        return log_dir

    return write
