"""Nearest offers to a query embedding: an exact scan while the catalogue is small, an HNSW graph beyond that.

A release holds both forms, `offers.npz` (ids, embeddings) and `offers.usearch` (the graph over the same rows), so that
either can be checked against the other. The former holds the latter's SHA-256: usearch trusts what it loads, and a damaged
graph ends the process.
"""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from usearch.index import Index, MetricKind

from domain.errors import ContractError

OFFERS_FILE = "offers.npz"
GRAPH_FILE = "offers.usearch"
EXACT_BELOW = 20_000
"""With fewer offers than this, one matrix-vector product (0.1 to 0.3 ms) is as quick as the graph, and never misses."""
# Recall of 100 neighbours: 0.999 of 100,000 random unit vectors in 16 dimensions, 0.97 of 20,000 in 64, which no trained
# embedding is as hard as.
CONNECTIVITY = 16
EXPANSION_ADD = 128
EXPANSION_SEARCH = 384
UNIT_TOLERANCE = 1e-3

Neighbours = tuple[NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class OfferIndex:
    """Offers of one release: ids [N], embeddings [N, D] float32 of length 1, and a graph over them."""

    ids: tuple[str, ...]
    embeddings: NDArray[np.float32]
    graph: Index

    def search(self, query: NDArray[np.float32], k: int) -> Neighbours:
        """The k offers with the greatest inner product with `query`, best first.

        Args:
          query: [D], of length 1.
          k: at least 1; fewer come back where the index holds fewer.
        Returns:
          positions [k] int64 into `ids`, scores [k] float32 in [-1, 1].
        Raises:
          ContractError: `query` is not [D].
        """
        if query.shape != self.embeddings.shape[1:]:
            raise ContractError(f"query embedding: expected shape {self.embeddings.shape[1:]}, got {query.shape}")
        return self.scan(query, k) if len(self.ids) < EXACT_BELOW else self.walk(query, k)

    def scan(self, query: NDArray[np.float32], k: int) -> Neighbours:
        """`search` by comparing with every offer; ties go to the lower position."""
        scores = self.embeddings @ query
        k = min(k, len(scores))
        # Partition first: sorting 10,000 scores would cost more than the product itself.
        cut = np.partition(scores, len(scores) - k)[len(scores) - k]
        near = np.flatnonzero(scores >= cut)
        positions = near[np.argsort(-scores[near], kind="stable")][:k]
        return positions, scores[positions]

    def walk(self, query: NDArray[np.float32], k: int) -> Neighbours:
        """`search` through the graph; misses a few per cent of the true neighbours."""
        # One thread: the gateway's event loop owns the core, and a pool would only add a hand-over.
        matches = self.graph.search(query, min(k, len(self.ids)), threads=1)
        # usearch calls 1 - <a, b> the distance of the inner-product metric.
        return matches.keys.astype(np.int64), (1.0 - matches.distances).astype(np.float32)

    def save(self, directory: Path) -> None:
        """Writes both files into an existing directory."""
        graph = directory / GRAPH_FILE
        self.graph.save(str(graph))
        ids = np.asarray(self.ids, dtype=np.str_)
        np.savez(directory / OFFERS_FILE, ids=ids, embeddings=self.embeddings, graph_sha256=np.asarray(_sha256(graph)))


def build_index(ids: list[str], embeddings: NDArray[np.float32]) -> OfferIndex:
    """An index over offers, in the order given.

    Args:
      ids: [N], each once.
      embeddings: [N, D], every row of length 1.
    Raises:
      ContractError: shapes differ, an id comes twice, or a row is not finite or not of length 1.
    """
    vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
    _check(ids, vectors)
    graph = _empty_graph(vectors.shape[1])
    graph.add(np.arange(len(ids), dtype=np.uint64), vectors)
    return OfferIndex(tuple(ids), vectors, graph)


def load_index(directory: Path) -> OfferIndex:
    """Reads what `OfferIndex.save` wrote.

    Raises:
      ContractError: a file is missing or damaged, or the two files do not belong together.
    """
    path = directory / OFFERS_FILE
    try:
        # Opened here, because NumPy leaves a damaged file open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            ids = [str(i) for i in file["ids"]]
            vectors = np.ascontiguousarray(file["embeddings"], dtype=np.float32)
            graph_sha256 = str(file["graph_sha256"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as e:
        raise ContractError(f"{path}: not an offer index: {e}") from None
    _check(ids, vectors)
    graph = _empty_graph(vectors.shape[1])
    path = directory / GRAPH_FILE
    try:
        found = _sha256(path)
    except OSError as e:
        raise ContractError(f"{path}: {e}") from None
    if found != graph_sha256:
        raise ContractError(f"{path}: damaged, or of another release: {OFFERS_FILE} expects SHA-256 {graph_sha256}, got {found}")
    graph.load(str(path))
    return OfferIndex(tuple(ids), vectors, graph)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _empty_graph(ndim: int) -> Index:
    return Index(
        ndim=ndim,
        metric=MetricKind.IP,
        dtype="f32",
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=EXPANSION_SEARCH,
    )


def _check(ids: list[str], vectors: NDArray[np.float32]) -> None:
    if vectors.ndim != 2 or len(ids) != len(vectors) or not len(ids) or not vectors.shape[1]:
        raise ContractError(f"offer index: expected {len(ids)} (at least 1) embeddings in rows, got shape {vectors.shape}")
    if len(set(ids)) != len(ids):
        raise ContractError(f"offer index: {len(ids) - len(set(ids))} offer ids come twice")
    length = np.linalg.norm(vectors, axis=1)
    # `not <=` rather than `>`, so that NaN is caught as well.
    wrong = np.flatnonzero(~(np.abs(length - 1.0) <= UNIT_TOLERANCE))
    if len(wrong):
        raise ContractError(f"offer index: embedding of {ids[wrong[0]]!r} has length {length[wrong[0]]}, expected 1")
