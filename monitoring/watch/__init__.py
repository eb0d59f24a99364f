"""Reads the archive as it grows, keeps what the traffic of each hour was like, and has it judged."""

from monitoring.watch.database import monitor_path
from monitoring.watch.process import run
from monitoring.watch.settings import WatchSettings
from monitoring.watch.store import MonitorStore

__all__ = ["MonitorStore", "WatchSettings", "monitor_path", "run"]
