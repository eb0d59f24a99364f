from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from domain.errors import ContractError
from retrieval.index import EXACT_BELOW, GRAPH_FILE, OFFERS_FILE, OfferIndex, build_index, load_index


def unit_vectors(n: int, d: int, seed: int = 0) -> NDArray[np.float32]:
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def index_of(n: int, d: int = 16) -> OfferIndex:
    return build_index([f"offer-{i}" for i in range(n)], unit_vectors(n, d))


def test_scan_finds_what_a_full_sort_finds() -> None:
    index = index_of(500)
    for query in unit_vectors(20, 16, seed=1):
        positions, scores = index.search(query, 10)
        expected = np.argsort(-(index.embeddings @ query), kind="stable")[:10]
        np.testing.assert_array_equal(positions, expected)
        np.testing.assert_allclose(scores, (index.embeddings @ query)[expected])


def test_an_offer_is_its_own_nearest_neighbour() -> None:
    index = index_of(300)
    for i in (0, 17, 299):
        assert index.search(index.embeddings[i], 1)[0].tolist() == [i]
        assert index.walk(index.embeddings[i], 1)[0].tolist() == [i]


def test_equal_scores_go_to_the_lower_position() -> None:
    index = build_index(["a", "b", "c"], np.array([[1, 0], [1, 0], [1, 0]], np.float32))
    assert index.search(np.array([1, 0], np.float32), 2)[0].tolist() == [0, 1]


def test_more_neighbours_than_offers_gives_all_offers() -> None:
    positions, scores = index_of(3).search(unit_vectors(1, 16)[0], 10)
    assert sorted(positions.tolist()) == [0, 1, 2]
    assert len(scores) == 3
    assert len(index_of(3).walk(unit_vectors(1, 16)[0], 10)[0]) == 3


def test_graph_recalls_the_exact_neighbours_of_a_large_catalogue() -> None:
    index = index_of(EXACT_BELOW)
    queries = unit_vectors(50, 16, seed=2)
    found = 0
    for query in queries:
        positions, scores = index.search(query, 100)
        found += len(set(positions.tolist()) & set(index.scan(query, 100)[0].tolist()))
        np.testing.assert_allclose(scores, index.embeddings[positions] @ query, atol=1e-5)
        assert np.all(np.diff(scores) <= 1e-6)
    assert found / (50 * 100) > 0.99


def test_a_saved_index_answers_the_same(tmp_path: Path) -> None:
    index = index_of(200)
    index.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [OFFERS_FILE, GRAPH_FILE]
    again = load_index(tmp_path)
    assert again.ids == index.ids
    query = unit_vectors(1, 16, seed=3)[0]
    for search in ("scan", "walk"):
        np.testing.assert_array_equal(getattr(again, search)(query, 20)[0], getattr(index, search)(query, 20)[0])


@pytest.mark.parametrize("name", [OFFERS_FILE, GRAPH_FILE])
@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "truncated", "one bit"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str, damage: str) -> None:
    index_of(50).save(tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 1
        damaged = {"empty": b"", "garbage": b"\7" * len(content), "truncated": content[:-100], "one bit": bytes(flipped)}
        path.write_bytes(damaged[damage])
    with pytest.raises(ContractError, match=name):
        load_index(tmp_path)


def test_files_of_different_releases_are_refused(tmp_path: Path) -> None:
    index_of(50).save(tmp_path)
    graph = (tmp_path / GRAPH_FILE).read_bytes()
    index_of(49).save(tmp_path)
    (tmp_path / GRAPH_FILE).write_bytes(graph)
    with pytest.raises(ContractError, match="of another release"):
        load_index(tmp_path)


@pytest.mark.parametrize(
    ("ids", "embeddings", "message"),
    [
        ([], np.zeros((0, 2)), "at least 1"),
        (["a"], np.ones(2), "in rows"),
        (["a", "b"], np.eye(3)[:, :2], "2 .* got shape"),
        (["a", "a"], np.eye(2), "come twice"),
        (["a", "b"], np.array([[1, 0], [0, 0]]), "'b' has length 0"),
        (["a", "b"], np.array([[1, 0], [np.nan, 0]]), "'b' has length nan"),
    ],
)
def test_what_cannot_be_indexed_is_refused(ids: list[str], embeddings: NDArray[np.float64], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        build_index(ids, embeddings.astype(np.float32))


def test_a_query_of_another_dimension_is_refused() -> None:
    with pytest.raises(ContractError, match=r"\(16,\), got \(8,\)"):
        index_of(3).search(unit_vectors(1, 8)[0], 1)
