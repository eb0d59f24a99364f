"""Stops the run where ExampleValidator found something: on its own it only notes it."""

from pathlib import Path

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import ExampleAnomalies

from domain.errors import InvalidTrainingData


@component
def AnomalyCheck(anomalies: InputArtifact[ExampleAnomalies], data: Parameter[str]) -> None:  # noqa: N802
    """Ends the run if `check_anomalies` finds any."""
    check_anomalies(Path(anomalies.uri), data)


def check_anomalies(found: Path, data: str) -> None:
    """Passes where ExampleValidator found no anomaly in any split.

    Args:
      found: its output.
      data: what to call the rows in a message.
    Raises:
      InvalidTrainingData: names split, column and what is wrong.
    """
    for split in sorted(found.glob("Split-*")):
        anomalies = anomalies_pb2.Anomalies()
        anomalies.ParseFromString((split / "SchemaDiff.pb").read_bytes())
        for column, anomaly in sorted(anomalies.anomaly_info.items()):
            where = f"{data}: column {column!r}, split {split.name.removeprefix('Split-')}"
            raise InvalidTrainingData(where, "values as the market describes them", anomaly.description)
