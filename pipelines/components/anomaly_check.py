"""Stops the run where ExampleValidator found something: on its own it only notes it."""

from pathlib import Path

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import ExampleAnomalies

from domain.errors import InvalidTrainingData


@component
def AnomalyCheck(anomalies: InputArtifact[ExampleAnomalies], data: Parameter[str]) -> None:  # noqa: N802
    """Passes where no split has an anomaly.

    Raises:
      InvalidTrainingData: names split, column and what is wrong.
    """
    for split in sorted(Path(anomalies.uri).glob("Split-*")):
        found = anomalies_pb2.Anomalies()
        found.ParseFromString((split / "SchemaDiff.pb").read_bytes())
        for column, anomaly in sorted(found.anomaly_info.items()):
            where = f"{data}: column {column!r}, split {split.name.removeprefix('Split-')}"
            raise InvalidTrainingData(where, "values as the market describes them", anomaly.description)
