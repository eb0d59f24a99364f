"""The archiver drains the decision and event streams into hourly Parquet files, each entry exactly once."""

from serving.archiver.ledger import Reconciliation, reconcile
from serving.archiver.process import run
from serving.archiver.settings import ArchiverSettings

__all__ = ["ArchiverSettings", "Reconciliation", "reconcile", "run"]
