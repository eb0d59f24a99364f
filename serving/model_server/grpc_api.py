"""TF Serving's gRPC services over `Core`."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

from serving.model_server.core import Core, ModelConfig, Spec
from serving.model_server.saved_model import DEFAULT_SIGNATURE
from serving.model_server.status import StatusError, invalid
from serving.model_server.tensor_proto import from_proto, to_proto
from serving.model_server.version_policy import All, Latest, Policy, Specific

log = logging.getLogger(__name__)
T = TypeVar("T")


def spec_of(model_spec: Any) -> Spec:
    """A ModelSpec message."""
    choice = model_spec.WhichOneof("version_choice")
    version = model_spec.version.value if choice == "version" else None
    return Spec(model_spec.name, version, model_spec.version_label if choice == "version_label" else None)


def predict(core: Core, request: Any) -> Any:
    """PredictRequest -> PredictResponse, which says the version and the signature that answered."""
    inputs = {name: from_proto(name, proto) for name, proto in request.inputs.items()}
    signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
    response = predict_pb2.PredictResponse()
    with core.use(spec_of(request.model_spec)) as (version, model):
        outputs = model.predict(signature, inputs, request.output_filter)
    response.model_spec.name = request.model_spec.name
    response.model_spec.version.value = version
    response.model_spec.signature_name = signature
    for name, array in outputs.items():
        response.outputs[name].CopyFrom(to_proto(array))
    return response


def model_status(core: Core, spec: Spec) -> Any:
    """GetModelStatusResponse of a model or of one version."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for status in core.status(spec):
        listed = response.model_version_status.add(version=status.version, state=int(status.state))
        listed.status.SetInParent()
        if status.error is not None:
            listed.status.error_code = status.error.code.value[0]
            listed.status.error_message = status.error.message
    return response


def model_metadata(core: Core, spec: Spec) -> Any:
    """GetModelMetadataResponse with the signatures of the version that answers."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with core.use(spec) as (version, model):
        for name, definition in model.signature_defs.items():
            signatures.signature_def[name].CopyFrom(definition)
    response.model_spec.name = spec.name
    response.model_spec.version.value = version
    response.metadata["signature_def"].Pack(signatures)
    return response


def _policy(message: Any) -> Policy:
    match message.WhichOneof("policy_choice"):
        case "all":
            return All()
        case "specific":
            return Specific(tuple(message.specific.versions))
        case _:
            return Latest(message.latest.num_versions or 1)


def _answer(context: grpc.ServicerContext, call: Callable[[], T]) -> T:
    """Runs a call; one that fails ends with its status, a bug of ours with INTERNAL and a line in the log."""
    try:
        return call()
    except StatusError as error:
        code, message = error.code, error.message
    except Exception as error:
        log.exception("a call failed")
        code, message = grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"
    return context.abort(code, message)  # which raises


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata; the tf.Example calls are refused by name."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Runs a signature."""
        return _answer(context, lambda: predict(self._core, request))

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Signatures of a version."""

        def call() -> Any:
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            if not request.metadata_field:
                raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
            for name in request.metadata_field:
                if name != "signature_def":
                    raise invalid(f"Metadata field {name} is not supported")
            return model_metadata(self._core, spec_of(request.model_spec))

        return _answer(context, call)

    def _refuse(self, _request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "only Predict is served: send tensors to a signature")

    Classify = Regress = MultiInference = _refuse


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Status of the versions, and replacing the configuration."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """State of every version of a model, or of one."""

        def call() -> Any:
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            return model_status(self._core, spec_of(request.model_spec))

        return _answer(context, call)

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Replaces the models served."""

        def call() -> Any:
            config: model_server_config_pb2.ModelServerConfig = request.config
            if config.WhichOneof("config") != "model_config_list":
                raise invalid(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                    "Only ModelConfigList is currently supported"
                )
            models = [
                ModelConfig(c.name, Path(c.base_path), _policy(c.model_version_policy), dict(c.version_labels))
                for c in config.model_config_list.config
            ]
            self._core.reload(models)
            log.info("configuration replaced: %s", ", ".join(f"{m.name} from {m.base_path}" for m in models) or "no models")
            response = model_management_pb2.ReloadConfigResponse()
            response.status.SetInParent()
            return response

        return _answer(context, call)
