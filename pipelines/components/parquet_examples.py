"""ExampleGen: the rows as they are, in Parquet, which all that read them take by the batch.

As tf.Examples a row would become a Python object, a gzipped record and a parsed one again, in each component that reads it.
"""

from pathlib import Path

from tfx.components.util import examples_utils
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import Examples

from pipelines.examples_io import write_split
from pipelines.splits import SPLITS


@component
def ParquetExamples(examples: OutputArtifact[Examples], rows: Parameter[str]) -> None:  # noqa: N802
    """`rows` holds `<split>/*.parquet`."""
    for split in SPLITS:
        write_split(Path(rows) / split, Path(examples.uri), split)
    examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
    examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_PARQUET)
    examples_utils.set_file_format(examples, example_gen_pb2.FileFormat.Name(example_gen_pb2.FileFormat.FILE_FORMAT_PARQUET))
