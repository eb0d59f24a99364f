"""Stops the run where ExampleValidator found something: on its own it only notes it."""

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One that ExampleValidator found."""

    split: str
    column: str
    what: str


def anomalies_in(found: Path) -> list[Anomaly]:
    """All that ExampleValidator wrote into a folder, by split and column."""
    anomalies = []
    for split in sorted(found.glob("Split-*")):
        read = anomalies_pb2.Anomalies()
        read.ParseFromString((split / "SchemaDiff.pb").read_bytes())
        name = split.name.removeprefix("Split-")
        anomalies += [Anomaly(name, column, one.description) for column, one in sorted(read.anomaly_info.items())]
    return anomalies


def check_anomalies(found: Path, data: str) -> None:
    """Passes where ExampleValidator found no anomaly in any split.

    Args:
      found: its output.
      data: what to call the rows in a message.
    Raises:
      InvalidTrainingData: names split, column and what is wrong, of the first.
    """
    for one in anomalies_in(found):
        where = f"{data}: column {one.column!r}, split {one.split}"
        raise InvalidTrainingData(where, "values as the market describes them", one.what)
