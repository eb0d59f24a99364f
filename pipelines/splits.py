"""Which rows train, which calibrate, which report. Batch by batch, and the same for the same seed however rows are batched."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.training_spec import SplitSpec
from pipelines.keys import canonical

SPLITS = ("train", "valid", "eval")
TRAIN, VALID, EVAL = range(3)
Codes = NDArray[np.int8]
Cuts = tuple[float, float]


@dataclass(slots=True)
class RandomSplit:
    """One draw per row, in row order."""

    spec: SplitSpec
    seed: int
    _rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def assign(self, rows: int) -> Codes:
        """[rows] codes into SPLITS."""
        return _by_share(self._rng.random(rows), self.spec)

    def assign_before(self, late: NDArray[np.bool_]) -> Codes:
        """[rows] codes into SPLITS where the late rows are eval, and of the others a share is valid."""
        valid = self._rng.random(len(late)) < self.spec.valid_fraction / (1 - self.spec.eval_fraction)
        return np.where(late, EVAL, np.where(valid, VALID, TRAIN)).astype(np.int8)


def hash_split(keys: pa.Array, spec: SplitSpec, seed: int, before: int = 0) -> Codes:
    """Rows with the same key, such as a shopper, go to the same split, whatever else is in the log; one without a key by itself.

    Args:
      keys: as of `pipelines.keys.key_column`.
      before: rows of the log before these.
    """
    encoded = keys.dictionary_encode()
    shares = np.array([_share(seed, canonical(key)) for key in encoded.dictionary.to_pylist()])
    share, missing = np.empty(len(keys)), keys.is_null().to_numpy(zero_copy_only=False)
    share[~missing] = shares[encoded.indices.drop_null().to_numpy()]
    share[missing] = [_share(seed, f"row {before + row}, without a key") for row in np.flatnonzero(missing).tolist()]
    return _by_share(share, spec)


def held_out(spec: SplitSpec, seed: int) -> str | None:
    """What the places of rows rest on in a split by hash: where it is equal, the same rows are held out. None of other splits."""
    if spec.kind != "hash":
        return None
    return f"hash of {spec.by}, seed {seed}, valid {spec.valid_fraction:g}, eval {spec.eval_fraction:g}"


def time_cuts(times: NDArray[np.float64], spec: SplitSpec) -> Cuts:
    """Times at which `valid` and `eval` begin; rows of one time stay together."""
    valid = float(np.quantile(times, 1 - spec.eval_fraction - spec.valid_fraction, method="higher"))
    return valid, float(np.quantile(times, 1 - spec.eval_fraction, method="higher"))


def time_split(times: NDArray[np.float64], cuts: Cuts) -> Codes:
    """The earliest rows train, the latest report."""
    return np.where(times >= cuts[1], EVAL, np.where(times >= cuts[0], VALID, TRAIN)).astype(np.int8)


def _share(seed: int, text: str) -> float:
    """In [0, 1), the same for the same text."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{text}".encode(), digest_size=8).digest(), "big") / 2**64


def _by_share(share: NDArray[np.float64], spec: SplitSpec) -> Codes:
    held_out = spec.eval_fraction + spec.valid_fraction
    return np.where(share < spec.eval_fraction, EVAL, np.where(share < held_out, VALID, TRAIN)).astype(np.int8)
