"""The archiver drains the decision and event streams into hourly Parquet files, each entry exactly once."""

from serving.archiver.process import run
from serving.archiver.settings import ArchiverSettings

__all__ = ["ArchiverSettings", "run"]
