"""Files the ML Metadata of a run, whose own store goes with its folder, into the store that stays.

A run works on a store of its own, so nothing that the lasting one suffers (another run writes, a server is away, the disk is
full, a schema of another version) can end a training. Afterwards all of it is copied in one transaction. What could not be copied
waits in `metadata-waiting/` beside the releases, and the next run that can files it, too.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import orjson
from ml_metadata import ListOptions, errors
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as pb

from domain.errors import Unavailable
from pipelines.metadata_address import MetadataAddress, sqlite_store

log = logging.getLogger("offerrank.metadata")

WAITING = "metadata-waiting"
WAITING_MOST = 50
TRIES, WAIT_S = 5, 2.0
PIPELINE_RUN = "pipeline_run"
Facts = Mapping[str, str | int | float | None]
T = TypeVar("T")


def file_run(own: Path, target: MetadataAddress, releases: Path, run: str, facts: Facts, lasting: bool) -> None:
    """Copies a run's store into the lasting one; where that cannot be, lets it wait. Never raises.

    Where the lasting one would lie among the releases, and there is no such folder yet, none is made.

    Args:
      own: the run's metadata.sqlite.
      releases: the folder beside whose releases it may wait.
      run: the run's id in runs.sqlite.
      facts: custom properties for the run's context and executions: what is known of it that no artifact would tell later.
      lasting: whether the artifacts stay where they are; else they are noted as deleted.
    """
    if target.path is not None and target.path.parent == releases and not releases.is_dir():
        return
    try:
        _copy(own, target, {**facts, "run": run}, lasting)
        for path in sorted((releases / WAITING).glob("*.sqlite")):
            noted = path.with_suffix(".json")
            _copy(path, target, orjson.loads(noted.read_bytes()) if noted.exists() else {}, lasting=False)
            _remove(path)
    except Exception as e:
        log.warning("the run is not filed: %s", e if isinstance(e, Unavailable) else f"{target.name}: {_line(e)}")
        try:
            _wait(own, releases / WAITING, run, facts)
        except OSError as e:
            log.warning("nor can it wait in %s: %s", releases / WAITING, e)


def _wait(own: Path, folder: Path, run: str, facts: Facts) -> None:
    if not own.exists() or (folder / f"{run}.sqlite").exists() or not folder.parent.is_dir():
        return
    folder.mkdir(exist_ok=True)
    (folder / f"{run}.json").write_bytes(orjson.dumps({**facts, "run": run}))
    shutil.copyfile(own, partial := folder / f"{run}.partial")
    partial.rename(folder / f"{run}.sqlite")
    for path in sorted(folder.glob("*.sqlite"))[:-WAITING_MOST]:
        _remove(path)


def _remove(path: Path) -> None:
    for gone in (path, path.with_suffix(".json")):
        gone.unlink(missing_ok=True)


def opened(address: MetadataAddress, upgrade: bool = True) -> MetadataStore:
    """The store. A file of an older schema is brought up to date, with a copy of it kept; a server's is its keeper's to upgrade.

    Raises:
      Unavailable: it cannot be used now, and why.
    """
    try:
        return _named(lambda: MetadataStore(address.config), address)
    except Unavailable as e:
        if address.path is None or not upgrade or "is older than library version" not in str(e):
            raise
    shutil.copyfile(address.path, address.path.with_name(f"{address.path.name}.before-upgrade"))
    return _named(lambda: MetadataStore(address.config, enable_upgrade_migration=True), address)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _named(do: Callable[[], T], address: MetadataAddress) -> T:
    """What MLMD raises has no kinds: RuntimeError for a server that is away, InternalError for a lock; a lock is waited for."""
    for attempt in range(TRIES):
        try:
            return do()
        except (errors.StatusError, RuntimeError) as e:
            said = _line(e)
            busy = isinstance(e, errors.AbortedError | errors.AlreadyExistsError) or "locked" in said or "concurrent" in said
            if not busy or attempt == TRIES - 1:
                raise Unavailable("ML Metadata", f"{address.name}: {said or type(e).__name__}") from None
            time.sleep(WAIT_S)
    raise AssertionError


def _copy(own: Path, target: MetadataAddress, facts: Facts, lasting: bool) -> None:
    """All of one store into another, in one transaction but for the types; nothing where it is there already."""
    source, store = MetadataStore(sqlite_store(own).config), opened(target)
    runs = source.get_contexts_by_type(PIPELINE_RUN)
    if any(_named(lambda r=run: store.get_context_by_type_and_name(PIPELINE_RUN, r.name), target) for run in runs):  # type: ignore[misc]
        return
    artifacts, executions = source.get_artifacts(), source.get_executions()
    edges = _edges(executions, artifacts, source.get_events_by_execution_ids([e.id for e in executions]))
    components = {e.id: c.name for c in source.get_contexts_by_type("node") for e in source.get_executions_by_context(c.id)}
    for execution in executions:
        began_ms, ended_ms = execution.create_time_since_epoch, execution.last_update_time_since_epoch
        component = components.get(execution.id, execution.type).rpartition(".")[2]
        # The store would have the time of the copy. The rest is the run's, once: a year of hourly runs is kept.
        of_run = {name: facts.get(name) for name in ("run", "outcome", "version")}
        _tell(execution, {**of_run, "component": component, "began_ms": began_ms, "ended_ms": ended_ms})
    for run in runs:
        _tell(run, facts)
    for artifact in artifacts:
        if not lasting:
            artifact.state = pb.Artifact.DELETED
    contexts = [*source.get_contexts_by_type("pipeline"), *runs]  # all executions are in both
    types = _types(source, store, target)
    for kind, nodes in (("artifact", artifacts), ("execution", executions), ("context", contexts)):
        for node in nodes:
            node.type_id = types[kind, node.type_id]
            for stored in ("id", "type", "create_time_since_epoch", "last_update_time_since_epoch"):
                node.ClearField(stored)
    _named(lambda: _put(store, executions, artifacts, contexts, edges), target)


def _put(store: MetadataStore, executions: Any, artifacts: Any, contexts: Any, edges: Any) -> None:
    """The pipeline's context may be there already."""
    known = [store.get_context_by_type_and_name("pipeline", c.name) or c for c in contexts[:-1]]
    store.put_lineage_subgraph(executions, artifacts, [*known, contexts[-1]], edges, reuse_context_if_already_exist=True)


def _types(source: MetadataStore, store: MetadataStore, target: MetadataAddress) -> dict[tuple[str, int], int]:
    """(Kind, id in the source) -> id in the store."""
    found = {}
    for kind in ("artifact", "execution", "context"):
        for one in getattr(source, f"get_{kind}_types")():
            own_id = one.id
            one.ClearField("id")
            put = getattr(store, f"put_{kind}_type")
            found[kind, own_id] = _named(lambda p=put, o=one: p(o, can_add_fields=True, can_omit_fields=True), target)  # type: ignore[misc]
    return found


def _edges(executions: Any, artifacts: Any, events: Iterable[Any]) -> list[tuple[int, int, Any]]:
    execution_at = {e.id: i for i, e in enumerate(executions)}
    artifact_at = {a.id: i for i, a in enumerate(artifacts)}
    edges = []
    for event in events:
        edges.append((execution_at[event.execution_id], artifact_at[event.artifact_id], event))
        event.ClearField("execution_id")
        event.ClearField("artifact_id")
    return edges


def _tell(node: Any, facts: Facts) -> None:
    for name, value in facts.items():
        if isinstance(value, str):
            node.custom_properties[name].string_value = value
        elif isinstance(value, int):
            node.custom_properties[name].int_value = value
        elif isinstance(value, float):
            node.custom_properties[name].double_value = value


def run_in_metadata(address: MetadataAddress, version: int) -> dict[str, Any]:
    """The run that made a release, as ML Metadata has it: components with their state and seconds.

    Raises:
      Unavailable: the store cannot be read, or knows of no such release.
    """
    if address.path is not None and not address.path.exists():
        raise Unavailable("ML Metadata", f"{address.name}: there is none yet")
    store = opened(address, upgrade=False)
    query = f"custom_properties.version.int_value = {version}"
    for artifact in _named(lambda: store.get_artifacts(ListOptions(filter_query=query)), address):
        for context in (c for c in store.get_contexts_by_artifact(artifact.id) if c.type == PIPELINE_RUN):
            executions = sorted(store.get_executions_by_context(context.id), key=lambda e: e.id)
            told = context.custom_properties
            return {
                "store": address.name,
                "pipeline_run": context.name,
                "run": told["run"].string_value if "run" in told else None,
                "artifact": artifact.uri,
                "kept": artifact.state != pb.Artifact.DELETED,
                "components": [_component(e) for e in executions],
            }
    raise Unavailable("ML Metadata", f"{address.name}: knows nothing of release {version}")


def _component(execution: Any) -> dict[str, Any]:
    told = execution.custom_properties
    began_ms = told["began_ms"].int_value if "began_ms" in told else execution.create_time_since_epoch
    ended_ms = told["ended_ms"].int_value if "ended_ms" in told else execution.last_update_time_since_epoch
    name = told["component"].string_value if "component" in told else execution.type.rpartition(".")[2]
    state = pb.Execution.State.Name(execution.last_known_state).lower()
    return {"name": name, "state": state, "seconds": round((ended_ms - began_ms) / 1000, 3)}
