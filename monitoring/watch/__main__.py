"""`python -m monitoring.watch`: settings from the environment."""

import sys

from domain.errors import OfferRankError
from domain.refusals import read_settings
from monitoring.watch import WatchSettings, run

try:
    run(read_settings(WatchSettings))
except OfferRankError as error:
    sys.exit(f"watch: {error}")
