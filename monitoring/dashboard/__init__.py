"""The page: what the market does right now, every figure computed from the two log streams and the budgets."""

from monitoring.dashboard.app import run
from monitoring.dashboard.settings import DashboardSettings

__all__ = ["DashboardSettings", "run"]
