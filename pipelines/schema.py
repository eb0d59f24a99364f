"""The TFX schema that a market implies: every feature present, of the declared type and length, labels 0 or 1."""

from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from features.market import Market
from features.spec import FeatureSpec

TYPES = {"string": schema_pb2.BYTES, "int": schema_pb2.INT, "float": schema_pb2.FLOAT}
MIN_KNOWN = 0.9
"""Share of rows whose value must be in a vocabulary that the market lists; fewer, and the list or the log is wrong.

Features with several values per row may hold any: what fills them up would count as known."""


def schema_of(market: Market) -> schema_pb2.Schema:
    """The schema ExampleValidator checks the rows against, and Transform and Trainer parse them by."""
    schema = schema_pb2.Schema()
    for feature in market.features:
        _add(schema, feature)
    for label in [t.label for t in market.tasks]:
        added = _required(schema, label, schema_pb2.INT)
        added.int_domain.min, added.int_domain.max = 0, 1
    for name in market.row_columns:
        added = _required(schema, name, schema_pb2.INT)
        if name in {column for t in market.tasks for column in (t.usable_column, t.counts_column)}:
            added.int_domain.min, added.int_domain.max = 0, 1
    return schema


def write_schema(market: Market, path: Path) -> None:
    """As text, which ImportSchemaGen reads."""
    path.write_text(text_format.MessageToString(schema_of(market)), encoding="utf-8")


def _add(schema: schema_pb2.Schema, feature: FeatureSpec) -> None:
    for tensor in feature.tensors:
        added = _required(schema, tensor.name, TYPES[tensor.dtype])
        if tensor.width:
            added.shape.dim.add(size=tensor.width)
    if feature.dtype == "string" and isinstance(feature.vocabulary, tuple) and not feature.multiple:
        # What stands for a missing value is known, whether or not the list names it.
        added.string_domain.value.extend(sorted({*map(str, feature.vocabulary), str(feature.fill)}))
        added.distribution_constraints.min_domain_mass = MIN_KNOWN


def _required(schema: schema_pb2.Schema, name: str, dtype: "schema_pb2.FeatureType") -> schema_pb2.Feature:
    added = schema.feature.add(name=name, type=dtype)
    added.presence.min_fraction, added.presence.min_count = 1.0, 1
    added.shape.SetInParent()
    return added
