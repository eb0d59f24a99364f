"""Transform's graph of an earlier run with longer vocabularies, in place of a new Transform.

A warm start keeps the graph, quantile boundaries and normalisation included: the weights were fitted to what they mean, and an
hour of rows is too little to learn them from. Learned vocabularies are files of the graph, and what is out of vocabulary is
looked up beyond their end, so appended lines become entries while former ones keep their ids.
"""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow_transform as tft
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from features.log_schema import contiguous
from features.market import Market
from features.spec import MISSING, FeatureSpec
from models.preprocessing import LINE_BREAKS


def grow_vocabularies(market: Market, transform: Path, rows: Path, grown: Path) -> dict[str, int]:
    """Copies a Transform graph to `grown`, with entries for the values in `rows` that it does not know.

    A vocabulary grows up to the size that its feature allows, most frequent values first.

    Returns:
      feature -> new entries, for the vocabularies that gained any.
    """
    shutil.copytree(transform, grown)
    output = tft.TFTransformOutput(str(grown))
    gained: dict[str, int] = {}
    for f in market.features:
        if not isinstance(f.vocabulary, int):
            continue
        file = Path(output.vocabulary_file_by_name(f.name))
        known = file.read_bytes().decode().removesuffix("\n").split("\n")
        values = values_of(f, pq.read_table(rows, columns=[f.name])[f.name])
        new = new_entries(values, known)[: max(f.vocabulary - len(known), 0)]
        if new:
            with file.open("a", encoding="utf-8", newline="\n") as lines:
                lines.writelines(f"{entry}\n" for entry in new)
            gained[f.name] = len(new)
    _forget_sizes(grown / tft.TFTransformOutput.TRANSFORMED_METADATA_DIR / "schema.pbtxt")
    return gained


def values_of(feature: FeatureSpec, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A feature's values in training rows, those of lists one after the other, without what stands for none."""
    values = pc.list_flatten(column) if feature.multiple else column
    return values.filter(pc.not_equal(values, pa.scalar(MISSING[feature.dtype], values.type)))


def new_entries(column: pa.ChunkedArray, known: list[str]) -> list[str]:
    """Values that are not known, the most frequent first; line breaks as in Transform."""
    text = pc.cast(contiguous(column), pa.string())
    for line_break, symbol in LINE_BREAKS.items():
        text = pc.replace_substring(text, line_break, symbol)
    counts = pc.value_counts(text)
    entries = counts.field("values").to_pylist()
    seen = set(known)
    new = [
        (-count, entry)
        for entry, count in zip(entries, counts.field("counts").to_pylist(), strict=True)
        if entry not in seen and entry
    ]
    return [entry for _, entry in sorted(new)]


def _forget_sizes(path: Path) -> None:
    """Some builds of Transform note each vocabulary's size in the schema; without the note they count the lines."""
    schema = text_format.Parse(path.read_text(encoding="utf-8"), schema_pb2.Schema())
    kept = [note for note in schema.annotation.extra_metadata if not note.type_url.endswith("VocabularyMetadata")]
    del schema.annotation.extra_metadata[:]
    schema.annotation.extra_metadata.extend(kept)
    path.write_text(text_format.MessageToString(schema), encoding="utf-8")
