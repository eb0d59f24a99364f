"""The release in the very server that will serve it: TFX's InfraValidator with the `tensorflow/serving` image.

It needs an engine to run: Docker where the pipeline runs, or the Kubernetes that it runs in.
"""

from typing import Any, Literal

from tfx.components.infra_validator import executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import infra_validator_pb2 as proto
from tfx.types import artifact_utils, standard_component_specs
from tfx.types.channel import Channel
from tfx.types.standard_artifacts import InfraBlessing

from domain.errors import ContractError
from pipelines.components.release import MODEL_NAME

IMAGE_TAG = "2.19.1"
"""Of `tensorflow/serving`, as in docker-compose.yml."""
ROWS = 64
LOADED_WITHIN_S = 300
TRIES = 3


class Executor(executor.Executor):
    """TFX's, which only notes that a release is not blessed."""

    def Do(self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Loads the release and asks for rows.

        Raises:
          ContractError: the image did not load it, or did not answer.
        """
        super().Do(input_dict, output_dict, exec_properties)
        require_blessed(artifact_utils.get_single_instance(output_dict[standard_component_specs.BLESSING_KEY]))


def require_blessed(blessing: Any) -> None:
    """Raises ContractError where TFX has not blessed a release."""
    if blessing.get_int_custom_property("blessed") != 1:
        raise ContractError(f"InfraValidator: tensorflow/serving:{IMAGE_TAG} did not load the release, or did not answer")


class InfraValidator(base_component.BaseComponent):
    """TFX's component with the executor above; none of its class, which the compiler for Kubeflow 2 refuses."""

    SPEC_CLASS = standard_component_specs.InfraValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, release_model: Any, examples: Any, platform: Literal["docker", "kubernetes"]) -> None:
        """Loads a release, and asks it for some rows of the examples' `eval`."""
        engines = {"docker": {"local_docker": proto.LocalDockerConfig()}, "kubernetes": {"kubernetes": proto.KubernetesConfig()}}
        serving = proto.ServingSpec(
            tensorflow_serving=proto.TensorFlowServing(tags=[IMAGE_TAG]), model_name=MODEL_NAME, **engines[platform]
        )
        request = proto.RequestSpec(
            tensorflow_serving=proto.TensorFlowServingRequestSpec(signature_names=["examples"]),
            split_name="eval",
            num_examples=ROWS,
        )
        spec = standard_component_specs.InfraValidatorSpec(
            model=release_model,
            examples=examples,
            blessing=Channel(type=InfraBlessing),
            serving_spec=serving,
            request_spec=request,
            validation_spec=proto.ValidationSpec(max_loading_time_seconds=LOADED_WITHIN_S, num_tries=TRIES),
        )
        super().__init__(spec=spec)
