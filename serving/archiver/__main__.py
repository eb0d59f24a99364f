"""`python -m serving.archiver`: settings from the environment."""

import sys

from domain.errors import OfferRankError
from serving.archiver import ArchiverSettings, run

try:
    run(ArchiverSettings())
except OfferRankError as error:
    sys.exit(f"archiver: {error}")
