"""Which versions of a model answer, with folders that are real and models that are not."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from models import release
from models.release import FileRecord, Manifest
from models.release_folder import is_copied
from serving.model_server.model_versions import ModelVersions, State
from serving.model_server.status import StatusError
from serving.model_server.version_policy import All, Latest, Policy, Specific


class Loaded:
    """A model that knows what was done with it."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Folder:
    """A base path, and a loader that refuses versions whose saved_model.pb says "corrupt"."""

    def __init__(self, path: Path, policy: Policy, is_copied: Callable[[Path, float], bool] = lambda *_: True) -> None:
        self.path = path
        self.loads: list[int] = []
        self.answering_during_loads: list[list[int]] = []
        self.models: dict[int, Loaded] = {}
        self.versions = ModelVersions("ranker", path, policy, self.load, is_copied)

    def load(self, path: Path, version: int) -> Loaded:
        self.loads.append(version)
        self.answering_during_loads.append(self.versions.available())
        content = (path / "saved_model.pb").read_text()
        if content == "corrupt":
            raise StatusError(grpc.StatusCode.DATA_LOSS, "corrupt")
        if content == "surprising":
            raise KeyError("no such op")
        self.models[version] = Loaded(version)
        return self.models[version]

    def put(self, *versions: int, content: str = "sound") -> None:
        for version in versions:
            (self.path / str(version)).mkdir(exist_ok=True)
            (self.path / str(version) / "saved_model.pb").write_text(content)

    def remove(self, version: int) -> None:
        (self.path / str(version) / "saved_model.pb").unlink()
        (self.path / str(version)).rmdir()

    def state(self, version: int) -> State:
        return self.versions.status(version)[0].state


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path, Latest(2))


def test_the_newest_is_loaded_first_and_only_as_many_as_are_kept(folder: Folder) -> None:
    folder.put(1, 2, 10)
    folder.versions.reconcile()
    assert folder.loads == [10, 2]
    assert folder.versions.available() == [2, 10]


def test_an_old_version_goes_when_the_new_one_answers_not_before(folder: Folder) -> None:
    folder.put(1, 2)
    folder.versions.reconcile()
    folder.put(3)
    folder.versions.reconcile()
    assert folder.answering_during_loads == [[], [2], [1, 2]]
    assert folder.versions.available() == [2, 3]
    assert folder.models[1].closed
    assert folder.state(1) is State.END


def test_a_corrupt_version_never_answers_and_pushes_no_sound_one_out(folder: Folder) -> None:
    folder.put(1, 2)
    folder.versions.reconcile()
    folder.put(3, 4, content="corrupt")
    folder.versions.reconcile()
    assert folder.versions.available() == [1, 2]
    status = folder.versions.status(4)[0]
    assert (status.state, str(status.error)) == (State.END, "corrupt")
    with folder.versions.use(None) as (version, _):
        assert version == 2


def test_a_corrupt_version_is_not_tried_again_until_its_files_change(folder: Folder) -> None:
    folder.put(1)
    folder.put(2, content="corrupt")
    for _ in range(3):
        folder.versions.reconcile()
    assert folder.loads == [2, 1]
    folder.put(2, content="repaired")
    folder.versions.reconcile()
    assert folder.loads == [2, 1, 2]
    assert folder.versions.available() == [1, 2]


def test_a_version_that_fails_in_a_way_nobody_thought_of_is_corrupt_too(folder: Folder) -> None:
    folder.put(1)
    folder.put(2, content="surprising")
    for _ in range(2):
        folder.versions.reconcile()
    assert folder.loads == [2, 1]
    assert str(folder.versions.status(2)[0].error) == "KeyError: 'no such op'"


def test_a_corrupt_version_that_was_removed_is_tried_when_it_comes_back(folder: Folder) -> None:
    folder.put(1)
    folder.put(2, content="corrupt")
    folder.versions.reconcile()
    folder.remove(2)
    folder.versions.reconcile()
    folder.put(2)
    folder.versions.reconcile()
    assert folder.versions.available() == [1, 2]


def test_a_folder_that_is_still_being_copied_is_not_touched(folder: Folder) -> None:
    (folder.path / "5" / "variables").mkdir(parents=True)
    (folder.path / "6.tmp").mkdir()
    folder.versions.reconcile()
    assert folder.loads == []
    with pytest.raises(StatusError, match="Could not find any versions of model ranker"):
        folder.versions.status()
    folder.put(5)
    folder.versions.reconcile()
    assert folder.versions.available() == [5]


def test_something_keeps_answering_when_the_folder_is_emptied(folder: Folder) -> None:
    folder.put(1, 2)
    folder.versions.reconcile()
    folder.remove(1)
    folder.remove(2)
    folder.versions.reconcile()
    assert folder.versions.available() == [2]


def test_a_version_is_closed_only_after_the_last_call_that_uses_it(folder: Folder) -> None:
    folder.put(1, 2)
    folder.versions.reconcile()
    folder.put(3)
    with folder.versions.use(1) as (_, model):
        unloading = threading.Thread(target=folder.versions.reconcile)
        unloading.start()
        while folder.state(1) is not State.UNLOADING:
            pass
        assert not model.closed
        with pytest.raises(StatusError, match=r"Servable not found for request: Specific\(ranker, 1\)"), folder.versions.use(1):
            pass
    unloading.join()
    assert folder.models[1].closed


def test_no_version_no_answer(folder: Folder) -> None:
    with pytest.raises(StatusError, match=r"Servable not found for request: Latest\(ranker\)"), folder.versions.use(None):
        pass


def test_specific_versions_wait_for_the_ones_asked_for(tmp_path: Path) -> None:
    folder = Folder(tmp_path, Specific((2, 4)))
    folder.put(1, 2, 3)
    folder.versions.reconcile()
    assert folder.versions.available() == [2]
    folder.versions.policy = Specific((4,))
    folder.versions.reconcile()
    assert folder.versions.available() == [2]
    folder.put(4)
    folder.versions.reconcile()
    assert folder.versions.available() == [4]


def test_all_versions(tmp_path: Path) -> None:
    folder = Folder(tmp_path, All())
    folder.put(1, 2, 3)
    folder.versions.reconcile()
    assert folder.versions.available() == [1, 2, 3]
    folder.versions.close()
    assert folder.versions.available() == []
    assert all(m.closed for m in folder.models.values())


def test_only_the_last_ended_versions_are_remembered(tmp_path: Path) -> None:
    folder = Folder(tmp_path, Latest(1))
    for version in range(1, 41):
        folder.put(version)
        folder.versions.reconcile()
    assert len(folder.versions.status()) < 20
    assert folder.versions.status()[0].version == 40


def test_a_release_is_loaded_once_all_files_of_its_manifest_are_there(tmp_path: Path) -> None:
    folder = Folder(tmp_path, Latest(2), is_copied=is_copied)
    old, new = (tmp_path / v for v in ("1", "2"))
    for version in (old, new):
        (version / "assets").mkdir(parents=True)
        (version / "assets.extra").mkdir()
        (version / "saved_model.pb").write_text("sound")
        (version / "assets" / "vocabulary").write_text("tea\ncoffee\n")
        files = {
            name: FileRecord(bytes=(version / name).stat().st_size, sha256="") for name in ("saved_model.pb", "assets/vocabulary")
        }
        named = Manifest(
            version=int(version.name),
            market="m",
            created_ms=1,
            inputs=(),
            tasks=(),
            embedding_dim=1,
            packages={},
            rows={},
            files=files,
        )
        (version / release.MANIFEST).write_text(named.model_dump_json())
    manifest = (new / release.MANIFEST).read_text()
    (new / "assets" / "vocabulary").write_text("tea\ncof")  # half of it: a model would load it without a word
    folder.versions.reconcile()
    assert folder.loads == [1]
    (new / "assets" / "vocabulary").write_text("tea\ncoffee\n")
    (new / release.MANIFEST).write_text(manifest[:100])
    folder.versions.reconcile()
    (new / release.MANIFEST).unlink()
    (new / release.CALIBRATOR).write_text("{}")  # a release whose manifest has not come yet
    folder.versions.reconcile()
    assert folder.loads == [1]
    (new / release.MANIFEST).write_text(manifest)
    folder.versions.reconcile()
    assert folder.versions.available() == [1, 2]
    # What answers goes on, whatever happens to its files.
    (new / release.MANIFEST).unlink()
    folder.versions.reconcile()
    assert folder.versions.available() == [1, 2]


def test_a_model_without_a_manifest_is_loaded_when_nothing_of_it_has_changed_for_a_while(tmp_path: Path) -> None:
    folder = Folder(tmp_path, Latest(2), is_copied=is_copied)
    folder.put(1)
    folder.versions.reconcile()
    assert folder.loads == []
    deadline = time.monotonic() + 30
    while not folder.versions.available():
        assert time.monotonic() < deadline
        time.sleep(0.1)
        folder.versions.reconcile()
    assert folder.loads == [1]
