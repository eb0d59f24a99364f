"""`python -m serving.archiver`: settings from the environment."""

import sys

from domain.errors import OfferRankError
from domain.refusals import read_settings
from serving.archiver import ArchiverSettings, run

try:
    run(read_settings(ArchiverSettings))
except OfferRankError as error:
    sys.exit(f"archiver: {error}")
