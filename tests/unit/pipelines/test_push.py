from pathlib import Path

import pytest

from domain.errors import ContractError
from models import release
from pipelines.push import link, push


@pytest.fixture
def assembled(tmp_path: Path) -> Path:
    folder = tmp_path / "assembled"
    (folder / release.EXTRA).mkdir(parents=True)
    manifest = release.Manifest(
        version=5, market="m", created_ms=0, inputs=(), tasks=(), embedding_dim=1, rows={}, packages={}
    ).model_dump_json()
    (folder / release.MANIFEST).write_text(manifest)
    (folder / release.SAVED_MODEL).write_bytes(b"model")
    return folder


def test_a_release_appears_under_its_version_and_nothing_else_does(assembled: Path, tmp_path: Path) -> None:
    releases = tmp_path / "deep" / "releases"
    assert push(assembled, releases) == releases / "5"
    assert (releases / "5" / release.SAVED_MODEL).read_bytes() == b"model"
    assert [p.name for p in releases.iterdir()] == ["5"]


def test_a_version_that_exists_stays_as_it_is(assembled: Path, tmp_path: Path) -> None:
    push(assembled, tmp_path / "releases")
    (assembled / release.SAVED_MODEL).write_bytes(b"other")
    with pytest.raises(ContractError, match="exists already"):
        push(assembled, tmp_path / "releases")
    assert (tmp_path / "releases" / "5" / release.SAVED_MODEL).read_bytes() == b"model"
    assert [p.name for p in (tmp_path / "releases").iterdir()] == ["5"]


def test_a_copy_that_fails_leaves_nothing(assembled: Path, tmp_path: Path) -> None:
    (assembled / "variables").symlink_to(tmp_path / "gone")
    with pytest.raises(OSError, match="No such file"):
        push(assembled, tmp_path / "releases")
    assert list((tmp_path / "releases").iterdir()) == []


def test_files_may_be_linked_instead_of_copied(assembled: Path, tmp_path: Path) -> None:
    pushed = push(assembled, tmp_path / "releases", copy=link)
    assert (pushed / release.SAVED_MODEL).samefile(assembled / release.SAVED_MODEL)


def test_where_nothing_can_be_linked_it_is_copied(tmp_path: Path) -> None:
    # The target exists already: no second name, but the content.
    (tmp_path / "a").write_bytes(b"model")
    (tmp_path / "b").write_bytes(b"")
    link(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "b").read_bytes() == b"model"
    assert not (tmp_path / "b").samefile(tmp_path / "a")
