"""`python -m monitoring.dashboard`: settings from the environment."""

import sys

from domain.errors import OfferRankError
from monitoring.dashboard import DashboardSettings, run

try:
    run(DashboardSettings())
except OfferRankError as error:
    sys.exit(f"dashboard: {error}")
