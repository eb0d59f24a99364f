"""Which models there are, what answers for a request, and the thread that follows the folders."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from serving.model_server.model_versions import ModelVersions, VersionStatus
from serving.model_server.saved_model import SavedModel
from serving.model_server.status import StatusError, invalid
from serving.model_server.version_policy import Policy
from serving.model_server.warmup import warm_up

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model to serve."""

    name: str
    base_path: Path
    policy: Policy
    labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spec:
    """What a request asks for: a version, or a label, or neither for the newest."""

    name: str
    version: int | None = None
    label: str | None = None


class Core:
    """The models of one server. Calls may come from any thread; one thread of its own follows the folders."""

    def __init__(self, configs: Sequence[ModelConfig], poll_interval_s: float, tf_threads: int) -> None:
        self._poll_interval_s = poll_interval_s
        self._tf_threads = tf_threads
        self._models = {c.name: self._open(c) for c in configs}
        self._labels = {c.name: dict(c.labels) for c in configs}
        self._reconciling = threading.Lock()
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="model-versions")

    def _open(self, config: ModelConfig) -> ModelVersions[SavedModel]:
        def load(path: Path, version: int) -> SavedModel:
            model = SavedModel(path, self._tf_threads)
            try:
                warm_up(model, path, config.name, version)
            except BaseException:
                model.close()
                raise
            return model

        return ModelVersions(config.name, config.base_path, config.policy, load)

    def start(self) -> None:
        """Begins to follow the folders."""
        self._watcher.start()

    def stop(self) -> None:
        """Asks the thread to end; what is loaded goes on answering."""
        self._stop.set()

    def close(self) -> None:
        """Waits for the thread, and for a load under way, then lets every version go."""
        self.stop()
        if self._watcher.ident is not None:
            self._watcher.join()
        for model in self._models.values():
            model.close()

    def _watch(self) -> None:
        while not self._stop.is_set():
            with self._reconciling:
                for model in self._models.values():
                    try:
                        model.reconcile()
                    except Exception:  # a folder that cannot be read now may be readable later; what is loaded goes on
                        log.exception("%s: cannot follow %s", model.name, model.base_path)
            self._stop.wait(self._poll_interval_s)

    def _model(self, name: str, missing: str) -> ModelVersions[SavedModel]:
        if not name:
            raise invalid("ModelSpec has no name specified.")
        model = self._models.get(name)
        if model is None:
            raise StatusError(grpc.StatusCode.NOT_FOUND, missing)
        return model

    def _version(self, spec: Spec) -> int | None:
        if spec.label is None:
            return spec.version
        version = self._labels.get(spec.name, {}).get(spec.label)
        if version is None:
            raise invalid(f"Unrecognized servable version label: {spec.label}")
        return version

    @contextmanager
    def use(self, spec: Spec) -> Iterator[tuple[int, SavedModel]]:
        """The version that answers a request, with its number; it stays loaded meanwhile.

        Raises:
          StatusError: INVALID_ARGUMENT or NOT_FOUND, with TF Serving's words.
        """
        asked = f"Latest({spec.name})" if spec.version is None else f"Specific({spec.name}, {spec.version})"
        model = self._model(spec.name, f"Servable not found for request: {asked}")
        with model.use(self._version(spec)) as found:
            yield found

    def status(self, spec: Spec) -> list[VersionStatus]:
        """The versions of a model, or the one asked for.

        Raises:
          StatusError: as `use`.
        """
        what = "any versions" if spec.version is None else f"version {spec.version}"
        return self._model(spec.name, f"Could not find {what} of model {spec.name}").status(self._version(spec))

    def reload(self, configs: Sequence[ModelConfig]) -> None:
        """Replaces all models by these, all or nothing; returns when the new ones answer.

        A model whose name and folder stay keeps its loaded versions; one whose folder changes answers from the old folder
        until the new one is loaded.

        Raises:
          StatusError: INVALID_ARGUMENT for a configuration that cannot be, UNAVAILABLE when a new model has no version that
            loads, FAILED_PRECONDITION for a label on a version that does not answer.
        """
        _check(configs)
        with self._reconciling:
            kept = {c.name for c in configs if c.name in self._models and self._models[c.name].base_path == c.base_path}
            models = {c.name: self._models[c.name] if c.name in kept else self._open(c) for c in configs}
            opened = [m for name, m in models.items() if name not in kept]
            try:
                for model in opened:
                    model.reconcile(settled_s=0)  # who asks for a model says that it is there
                    _require_available(model)
                for config in configs:
                    _check_labels(config, models[config.name].is_available)
            except StatusError:
                for model in opened:
                    model.close()
                raise
            gone = [m for name, m in self._models.items() if models.get(name) is not m]
            self._models = models
            self._labels = {c.name: dict(c.labels) for c in configs}
            for config in configs:
                models[config.name].policy = config.policy
                models[config.name].reconcile()
            for model in gone:
                model.close()


def _check(configs: Sequence[ModelConfig]) -> None:
    names = [c.name for c in configs]
    for config in configs:
        if not config.name:
            raise invalid("a model in model_config_list has no name")
        if names.count(config.name) > 1:
            raise invalid(f"Illegal to list model {config.name} multiple times in config list")
        if not config.base_path.is_absolute():
            raise invalid(f"Expected model {config.name} to have an absolute path; got base_path()={config.base_path}")


def _require_available(model: ModelVersions[SavedModel]) -> None:
    if model.available():
        return
    try:
        reasons = "; ".join(f"version {s.version}: {s.error}" for s in model.status() if s.error)
    except StatusError:
        reasons = f"no versions under {model.base_path}"
    raise StatusError(grpc.StatusCode.UNAVAILABLE, f"model {model.name} did not become available: {reasons}")


def _check_labels(config: ModelConfig, is_available: Callable[[int], bool]) -> None:
    for version in config.labels.values():
        if not is_available(version):
            raise StatusError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Request to assign label to version {version} of model {config.name}, "
                "which is not currently available for inference",
            )
