"""Start-up and end of the model server process."""

import logging
import os
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import uvicorn

from domain.addresses import host_port
from domain.errors import Unavailable
from domain.signals import told_to_stop
from serving.model_server.settings import ModelServerSettings
from serving.tracing import traced

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from serving.model_server.core import Core

log = logging.getLogger(__name__)


def run(settings: ModelServerSettings) -> None:
    """Serves until SIGTERM or SIGINT, then lets calls under way end, at most `drain_s`.

    Prints one line once it listens: `model-server ready: gRPC HOST:PORT, REST HOST:PORT, ...`. Versions may come later.

    Raises:
      Unavailable: a port is taken.
    """
    with told_to_stop() as stop:
        if not logging.getLogger().handlers:
            logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
        listener = _bind(settings.host, settings.rest_port)
        _bind(settings.host, settings.port).close()  # a port that is taken is told now, not after TensorFlow's import
        core = _core(settings)
        with (
            traced(settings.otlp_endpoint, "offerrank-model-server") as tracer,
            _rest(core, listener, settings) as rest_port,
            _grpc(core, settings, tracer) as port,
        ):
            core.start()
            try:
                where = f"gRPC {host_port(settings.host, port)}, REST {host_port(settings.host, rest_port)}"
                print(f"model-server ready: {where}, {settings.model_name} from {settings.model_base_path}", flush=True)
                stop.wait()
                log.info("ending: waiting up to %g s for calls under way", settings.drain_s)
            finally:
                core.stop()
        core.close()
    log.info("ended")


def _core(settings: ModelServerSettings) -> "Core":
    """Imports TensorFlow, which takes seconds: only here, so that settings and errors of the command line do not wait."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    log.info("importing TensorFlow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Google's client libraries, about the Python version
        from serving.model_server.core import Core, ModelConfig
        from serving.model_server.version_policy import Latest

    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    path = settings.model_base_path.absolute()
    if not path.is_dir():
        log.warning("%s does not exist yet", path)
    config = ModelConfig(settings.model_name, path, Latest(settings.versions_kept))
    return Core([config], settings.poll_interval_s, settings.tf_threads)


@contextmanager
def _grpc(core: "Core", settings: ModelServerSettings, tracer: "Tracer | None") -> Iterator[int]:
    """The gRPC server; on leaving, new calls are refused and those under way end."""
    from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

    from serving.model_server.grpc_api import ModelService, PredictionService

    # Without so_reuseport=0 a second server on the same port would start silently and take half of the calls.
    options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    interceptors = []
    if tracer is not None:
        from serving.model_server.traced import Traced

        interceptors.append(Traced(tracer))
    server = grpc.server(ThreadPoolExecutor(settings.workers, "grpc"), interceptors=interceptors, options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(core), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(core), server)
    try:
        port = server.add_insecure_port(host_port(settings.host, settings.port))
    except RuntimeError as error:
        raise Unavailable("model-server", f"cannot listen on {host_port(settings.host, settings.port)}: {error}") from error
    server.start()
    try:
        yield port
    finally:
        server.stop(settings.drain_s).wait()


def _bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet: until then a client is refused at once instead of waiting."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise Unavailable("model-server", f"cannot listen on {host_port(host, port)}: {error}") from error
    return bound


@contextmanager
def _rest(core: "Core", listener: socket.socket, settings: ModelServerSettings) -> Iterator[int]:
    """The REST server in a thread of its own."""
    from serving.model_server.rest_api import rest_app

    app: Any = rest_app(core)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="rest")
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
