"""`python -m monitoring.dashboard`: settings from the environment."""

import sys

from domain.errors import OfferRankError
from domain.refusals import read_settings
from monitoring.dashboard import DashboardSettings, run

try:
    run(read_settings(DashboardSettings))
except OfferRankError as error:
    sys.exit(f"dashboard: {error}")
