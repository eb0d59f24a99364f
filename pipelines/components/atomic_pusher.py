"""Pusher whose release appears all at once. TFX's own copies file by file into the folder that serving watches."""

from pathlib import Path
from typing import Any

from tfx.components import Pusher
from tfx.components.pusher import executor
from tfx.dsl.components.base import executor_spec
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils
from tfx.utils import proto_utils

from domain.errors import NotBlessed, Unjudged
from models import release
from models.evaluation import EvaluationReport
from pipelines.push import push


class Executor(executor.Executor):
    """Pushes where ServingCheck and the gates of the calibrated evaluation agree, and Evaluator, if there is one."""

    def Do(self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Copies beside the destination, then renames.

        Raises:
          NotBlessed: to an orchestrator, a task that failed; TFX's own pusher would end well.
        """
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        model = Path(self.GetModelPath(input_dict))
        evaluation = EvaluationReport.model_validate_json((model / release.EVALUATION).read_bytes())
        failures = evaluation.refusals
        if failures or not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            refusal = Unjudged if evaluation.waits else NotBlessed
            raise refusal(failures or ("ServingCheck or Evaluator did not bless it",), model / release.REPORT)
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties["push_destination"], destination)
        path = push(model, Path(destination.filesystem.base_directory))
        self._MarkPushed(pushed, pushed_destination=str(path), pushed_version=path.name)


class AtomicPusher(Pusher):
    """TFX's Pusher with the executor above."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
