"""Which rows are of one shopper, or else of one page: they are not independent, and intervals must know."""

import hashlib
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.spec import CLUSTER
from models.clusters import Clusters
from pipelines.calibration import Columns
from pipelines.keys import canonical
from pipelines.text import holds_several, plain_key

PAGE = "decision_id"
SAID_BY = ("shopper_key", PAGE)
"""Columns of a log, the first that says something counts."""
EXACT = 2**53
"""Ids are below: whole numbers that a float holds, too."""


def cluster_column(columns: Mapping[str, pa.Array], rows: int) -> NDArray[np.int64]:
    """[R], equal for rows of one shopper, or of one page where the shopper is not known; -1 where neither is."""
    found = np.full(rows, -1)
    for name in SAID_BY:
        unsaid = np.flatnonzero(found < 0)
        if len(unsaid) and name in columns and not holds_several(columns[name].type):
            found[unsaid] = _hashed(plain_key(columns[name]).take(pa.array(unsaid)))
    return found


def clusters_of(columns: Columns) -> Clusters:
    """[R] of rows as columns, those of nobody known each on its own; None where that is all of them."""
    ids = columns.get(CLUSTER)
    if ids is None or not (ids >= 0).any():
        return None
    return np.where(ids >= 0, ids, -1 - np.arange(len(ids)))


def _hashed(raw: pa.Array) -> NDArray[np.int64]:
    """[R], the same for the same value in every file; -1 where there is none."""
    encoded = raw.dictionary_encode()
    values = [hashlib.blake2b(canonical(v).encode(), digest_size=8).digest() for v in encoded.dictionary.to_pylist()]
    ids = np.array([int.from_bytes(v, "big") % EXACT for v in values] + [-1])
    return ids[pc.fill_null(encoded.indices, len(values)).to_numpy(zero_copy_only=False)]
