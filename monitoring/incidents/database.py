"""The SQLite file of the incidents."""

from pathlib import Path
from typing import Final

from store.sqlite import SqliteFile

INCIDENTS: Final = SqliteFile(
    name="incidents", schema=(Path(__file__).parent / "schema.sql").read_text("utf-8"), version=1, maker="the watch"
)


def incidents_path(log_dir: Path) -> Path:
    """The incidents of the market whose archive this is."""
    return log_dir / "incidents.sqlite"
