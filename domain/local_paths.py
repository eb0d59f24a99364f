"""Paths are of this machine; an address of an object store would quietly become a folder named `s3:`."""

import re
from pathlib import Path

from domain.errors import OfferRankError

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def require_local(path: Path) -> None:
    """Refuses what was given as an address, such as `s3://bucket/releases`.

    Raises:
      OfferRankError: it was.
    """
    if found := _ADDRESS.match(str(path)):
        said = str(path).replace(":/", "://", 1)
        raise OfferRankError(f"{said}: expected a path of this machine; mount what {found[1]}:// leads to, or copy it")
