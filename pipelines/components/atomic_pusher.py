"""Pusher whose release appears all at once. TFX's own copies file by file into the folder that serving watches."""

from pathlib import Path
from typing import Any

from tfx.components import Pusher
from tfx.components.pusher import executor
from tfx.dsl.components.base import executor_spec
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils
from tfx.utils import proto_utils

from models import release
from models.evaluation import EvaluationReport
from pipelines.push import push


class Executor(executor.Executor):
    """Pushes where Evaluator, ServingCheck and the gates of the calibrated evaluation all agree."""

    def CheckBlessing(self, input_dict: dict[str, Any]) -> bool:  # noqa: N802
        """TFX's blessings, and our gates."""
        report = (Path(self.GetModelPath(input_dict)) / release.EVALUATION).read_bytes()
        return super().CheckBlessing(input_dict) and not EvaluationReport.model_validate_json(report).failed

    def Do(self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Copies beside the destination, then renames."""
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties["push_destination"], destination)
        path = push(Path(self.GetModelPath(input_dict)), Path(destination.filesystem.base_directory))
        self._MarkPushed(pushed, pushed_destination=str(path), pushed_version=path.name)


class AtomicPusher(Pusher):
    """TFX's Pusher with the executor above."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
