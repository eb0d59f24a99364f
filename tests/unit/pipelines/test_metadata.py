"""ML Metadata of every run is filed in one store, and nothing that befalls the store can cost a training."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.metadata_store.metadata_store import downgrade_schema
from ml_metadata.proto import metadata_store_pb2 as pb

from domain.errors import OfferRankError, Unavailable
from pipelines.metadata_address import MetadataAddress, metadata_address, metadata_beside, sqlite_store
from pipelines.metadata_store import WAITING, file_run, opened

FACTS = {"outcome": "released", "version": 7, "trained_through_ms": None}


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    (tmp_path / "releases").mkdir()
    return tmp_path / "releases"


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], Path]:
    """Makes the store of a run: a trainer that read examples and wrote a model."""

    def made(name: str) -> Path:
        path = tmp_path / f"{name}.sqlite"
        store = MetadataStore(sqlite_store(path).config)
        model = store.put_artifact_type(pb.ArtifactType(name="Model"))
        trainer = store.put_execution_type(pb.ExecutionType(name="Trainer"))
        kinds = [store.put_context_type(pb.ContextType(name=kind)) for kind in ("pipeline", "pipeline_run", "node")]
        contexts = [pb.Context(type_id=k, name=n) for k, n in zip(kinds, ("shop", name, "shop.Trainer"), strict=True)]
        execution = pb.Execution(type_id=trainer, name=f"e-{name}", last_known_state=pb.Execution.COMPLETE)
        artifact = pb.Artifact(type_id=model, uri="/tmp/gone", state=pb.Artifact.LIVE)
        edge = (0, 0, pb.Event(type=pb.Event.OUTPUT))
        store.put_lineage_subgraph([execution], [artifact], contexts, [edge])
        return path

    return made


def outcomes(target: MetadataAddress) -> dict[str, str]:
    """Run -> outcome."""
    runs = opened(target).get_contexts_by_type("pipeline_run")
    return {run.name: run.custom_properties["outcome"].string_value for run in runs}


def test_a_run_is_filed_with_what_is_known_of_it(releases: Path, run: Callable[[str], Path]) -> None:
    target = metadata_beside(releases)
    file_run(run("one"), target, releases, "r1", FACTS, lasting=False)
    store = opened(target)
    (context,) = store.get_contexts_by_type("pipeline_run")
    assert {name: value.WhichOneof("value") for name, value in context.custom_properties.items()} == {
        "outcome": "string_value",
        "run": "string_value",
        "version": "int_value",
    }
    (execution,) = store.get_executions_by_context(context.id)
    told = execution.custom_properties
    assert (told["component"].string_value, told["version"].int_value) == ("Trainer", 7)
    assert told["ended_ms"].int_value >= told["began_ms"].int_value > 1_700_000_000_000
    (artifact,) = store.get_artifacts_by_context(context.id)
    assert (artifact.uri, artifact.state) == ("/tmp/gone", pb.Artifact.DELETED)
    (event,) = store.get_events_by_execution_ids([execution.id])
    assert (event.artifact_id, event.type) == (artifact.id, pb.Event.OUTPUT)


def test_runs_share_the_pipeline_and_each_is_filed_once(releases: Path, run: Callable[[str], Path]) -> None:
    target, first = metadata_beside(releases), run("one")
    file_run(first, target, releases, "r1", FACTS, lasting=True)
    file_run(run("two"), target, releases, "r2", {"outcome": "refused"}, lasting=True)
    file_run(first, target, releases, "r1", FACTS, lasting=True)
    assert outcomes(target) == {"one": "released", "two": "refused"}
    store = opened(target)
    (pipeline,) = store.get_contexts_by_type("pipeline")
    assert len(store.get_executions_by_context(pipeline.id)) == 2
    assert {a.state for a in store.get_artifacts()} == {pb.Artifact.LIVE}


def test_what_cannot_be_filed_waits_and_the_next_run_files_it(
    releases: Path, run: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    broken = metadata_beside(releases)
    assert broken.path is not None
    broken.path.write_bytes(b"no database" * 1000)
    file_run(run("one"), broken, releases, "r1", FACTS, lasting=False)
    assert "file is not a database" in caplog.text
    assert {p.name for p in (releases / WAITING).iterdir()} == {"r1.sqlite", "r1.json"}
    broken.path.unlink()
    file_run(run("two"), broken, releases, "r2", {"outcome": "refused"}, lasting=False)
    assert outcomes(broken) == {"one": "released", "two": "refused"}
    assert list((releases / WAITING).iterdir()) == []


def test_no_folder_of_releases_is_made_for_it(
    tmp_path: Path, run: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    absent = tmp_path / "absent"
    file_run(run("one"), metadata_beside(absent), absent, "r1", FACTS, lasting=False)
    assert (absent.exists(), caplog.text) == (False, "")


def test_a_server_that_is_away_costs_a_line(releases: Path, run: Callable[[str], Path], caplog: pytest.LogCaptureFixture) -> None:
    away = metadata_address("postgresql://me:secret@127.0.0.1:1/lineage", releases)
    file_run(run("one"), away, releases, "r1", FACTS, lasting=False)
    assert "the run is not filed: ML Metadata: postgresql://me@127.0.0.1:1/lineage" in caplog.text
    assert "secret" not in caplog.text
    assert (releases / WAITING / "r1.sqlite").exists()


def test_a_full_disk_costs_two_lines(tmp_path: Path, run: Callable[[str], Path], caplog: pytest.LogCaptureFixture) -> None:
    full = sqlite_store(Path("/dev/full"))
    file_run(run("one"), full, tmp_path / "absent", "r1", FACTS, lasting=False)
    assert "the run is not filed: ML Metadata: sqlite:////dev/full" in caplog.text


def test_a_file_of_an_older_schema_is_brought_up_to_date_and_a_copy_kept(releases: Path, run: Callable[[str], Path]) -> None:
    target = metadata_beside(releases)
    assert target.path is not None
    file_run(run("one"), target, releases, "r1", FACTS, lasting=False)
    downgrade_schema(target.config, 9)
    with pytest.raises(Unavailable, match="older than"):
        opened(target, upgrade=False)
    file_run(run("two"), target, releases, "r2", FACTS, lasting=False)
    assert outcomes(target) == {"one": "released", "two": "released"}
    assert target.path.with_name("metadata.sqlite.before-upgrade").exists()


def test_a_schema_of_a_later_version_is_left_alone(
    releases: Path, run: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    target = metadata_beside(releases)
    assert target.path is not None
    file_run(run("one"), target, releases, "r1", FACTS, lasting=False)
    with sqlite3.connect(target.path) as db:
        db.execute("UPDATE MLMDEnv SET schema_version = 99")
    db.close()
    file_run(run("two"), target, releases, "r2", FACTS, lasting=False)
    assert "99" in caplog.text
    assert (releases / WAITING / "r2.sqlite").exists()


def test_an_address_is_one_of_three_kinds(tmp_path: Path) -> None:
    assert metadata_address(None, tmp_path).path == tmp_path / "metadata.sqlite"
    assert metadata_address("sqlite:////var/lib/m.sqlite", tmp_path).path == Path("/var/lib/m.sqlite")
    assert metadata_address("sqlite:///m.sqlite", tmp_path).path == Path("m.sqlite")
    mysql = metadata_address("mysql://me:p%40ss@db.shop:3307/lineage", tmp_path)
    server = mysql.config.mysql
    assert (server.host, server.port, server.database, server.user, server.password) == ("db.shop", 3307, "lineage", "me", "p@ss")
    assert mysql.name == "mysql://me@db.shop:3307/lineage"
    postgresql = metadata_address("postgresql://me@db/lineage", tmp_path).config.postgresql
    assert (postgresql.host, postgresql.port, postgresql.dbname) == ("db", "5432", "lineage")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://db/0", "got a scheme 'redis'"),
        ("metadata.sqlite", "got a scheme ''"),
        ("sqlite://m.sqlite", "expected sqlite:///PATH with a path"),
        ("sqlite:///", "expected sqlite:///PATH with a path"),
        ("mysql://db/lineage", "a user is missing"),
        ("mysql://me:pw@/lineage", "a host is missing"),
        ("postgresql://me:pw@db", "a database is missing"),
        ("postgresql://me:pw@db:port/lineage", "OFFERRANK_METADATA: expected sqlite"),
        ("postgresql://me:pw@db/lineage?sslmode=require", "nothing after the database"),
    ],
)
def test_an_address_that_is_none_is_named_without_its_password(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(OfferRankError) as error:
        metadata_address(url, tmp_path)
    assert str(error.value).startswith("OFFERRANK_METADATA: ")
    assert said in str(error.value)
    assert "pw" not in str(error.value)


def test_runs_that_end_at_once_are_all_filed(releases: Path, run: Callable[[str], Path]) -> None:
    filing = "from pipelines.metadata_store import file_run; from pipelines.metadata_address import metadata_beside as beside"
    filing += "; import sys; from pathlib import Path; own, out, run = sys.argv[1:]"
    filing += "; file_run(Path(own), beside(Path(out)), Path(out), run, {'outcome': 'released'}, False)"
    runs = {name: run(name) for name in ("one", "two", "three")}
    processes = [subprocess.Popen([sys.executable, "-c", filing, str(path), str(releases), name]) for name, path in runs.items()]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert outcomes(metadata_beside(releases)) == dict.fromkeys(runs, "released")
