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


@component
def ParquetExamples(  # noqa: N802
    examples: OutputArtifact[Examples], rows: Parameter[str], splits: Parameter[str]
) -> None:
    """`rows` holds `<split>/*.parquet`, of which `splits` names those that have rows."""
    for split in splits.split():
        write_split(Path(rows) / split, Path(examples.uri), split)
    examples.split_names = artifact_utils.encode_split_names(splits.split())
    examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_PARQUET)
    examples_utils.set_file_format(examples, example_gen_pb2.FileFormat.Name(example_gen_pb2.FileFormat.FILE_FORMAT_PARQUET))
