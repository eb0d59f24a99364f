"""An ExampleGen for what reads nothing but tf.Examples: whole batches of our Parquet become some at once, in C++."""

import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from tfx.components.example_gen.base_example_gen_executor import BaseExampleGenExecutor
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from pipelines.bags import as_lists


class Executor(BaseExampleGenExecutor):
    """Reads the splits that the input config names."""

    def GetInputSourceToExamplePTransform(self) -> Any:  # noqa: N802
        """TFX's hook."""
        return _read_examples


@beam.ptransform_fn
@beam.typehints.with_input_types(beam.Pipeline)
@beam.typehints.with_output_types(bytes)
def _read_examples(pipeline: Any, exec_properties: dict[str, Any], split_pattern: str) -> Any:
    pattern = os.path.join(exec_properties["input_base"], split_pattern)
    return pipeline | "Read" >> beam.io.ReadFromParquetBatched(pattern) | "Encode" >> beam.FlatMap(_encode)


def _encode(table: pa.Table) -> Iterator[bytes]:
    encoder = RecordBatchToExamplesEncoder()
    for batch in table.combine_chunks().to_batches():
        lists = [as_lists(column) for column in batch.columns]
        yield from encoder.encode(pa.RecordBatch.from_arrays(lists, names=batch.schema.names))
