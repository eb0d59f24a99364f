"""Arrow schemas of the archived logs, derived from the market. A row is one stream entry; docs/event-log.md lists the columns.

A field is nullable only where its absence means something: a feature or task that the market did not have yet, an event without
a position or a value, what a candidate that was removed before ranking would have been worth. `conform` reads parts written
under an older market file.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from domain.errors import InvalidTrainingData
from features.market import Market
from features.spec import FeatureSpec

BEYOND = pa.field("beyond", pa.string())
"""JSON of what an entry held and the market and the code of the archiver did not know: nothing that was logged is lost."""
ARROW_TYPES = {"string": pa.string(), "int": pa.int64(), "float": pa.float32()}


def feature_struct(features: tuple[FeatureSpec, ...]) -> pa.StructType:
    """One nullable field per feature, of the dtype the model's signature takes: a value, a list, or a list of weighted values."""
    fields = [pa.field(f.name, _feature_type(f)) for f in features]
    return pa.struct(fields or [pa.field("none", pa.bool_())])  # Parquet has no struct without a field


def _feature_type(feature: FeatureSpec) -> pa.DataType:
    one = ARROW_TYPES[feature.dtype]
    if feature.weighted:
        one = pa.struct([pa.field("value", one), pa.field("weight", pa.float32())])
    return pa.list_(one) if feature.multiple else one


def decision_schema(market: Market) -> pa.Schema:
    """`domain.events.Decision`, after the id of its stream entry."""
    tasks = [t.name for t in market.served_tasks]
    slot = _struct(
        position=pa.int32(),
        placement=pa.string(),
        impression_id=pa.string(),
        offer_id=pa.string(),
        campaign_id=pa.string(),
        advertiser=pa.string(),
        bid_kind=pa.string(),
        bid_micros=pa.int64(),
        price_micros=pa.int64(),
        hold_micros=pa.int64(),
        pacing_multiplier=pa.float64(),
        probability=pa.struct([pa.field(t, pa.float64()) for t in tasks]),
        ecpm_micros=pa.float64(),
        propensity=pa.float64(),
        features=feature_struct(market.offer_features),
        examination=pa.float64(),
    )
    candidates = _struct(
        offer_id=_list(pa.string()),
        source=_list(pa.string()),
        probability=pa.struct([pa.field(t, pa.list_(pa.float64())) for t in tasks]),
        ecpm_micros=pa.list_(pa.float64()),
        reason=_list(pa.int16()),
        weight=pa.float64(),
        unlisted=pa.map_(pa.string(), pa.int64()),
    )
    required = list(
        _struct(
            stream_id=pa.string(),
            decision_id=pa.string(),
            time_ms=pa.int64(),
            day=pa.int64(),
            policy_id=pa.string(),
            release=pa.string(),
            asked_by=pa.string(),
            shopper_key=pa.string(),
            features=feature_struct(market.request_features),
            slots=_list(slot),
            candidates=candidates,
            explored=pa.bool_(),
            degraded=_list(pa.string()),
            stage_us=pa.map_(pa.string(), pa.int64()),
            total_us=pa.int64(),
        )
    )
    optional = [pa.field("invalid", pa.string()), pa.field("catalogue", pa.int64()), pa.field("moment", pa.string())]
    return pa.schema([*required, *optional, BEYOND])


def event_schema() -> pa.Schema:
    """One accepted event, after its id in the stream of its partition. What gateways of before did not say is null."""
    required = _struct(
        stream_id=pa.string(),
        event_id=pa.string(),
        type=pa.string(),
        status=pa.string(),
        charged_micros=pa.int64(),
        impression_id=pa.string(),
        decision_id=pa.string(),
        offer_id=pa.string(),
        campaign_id=pa.string(),
        advertiser=pa.string(),
        time_ms=pa.int64(),
    )
    optional = [
        pa.field("partition", pa.int32()),
        pa.field("position", pa.int32()),
        pa.field("day", pa.int64()),
        pa.field("value_micros", pa.int64()),
        pa.field("price_micros", pa.int64()),
        pa.field("reason", pa.string()),
        pa.field("order_id", pa.string()),
        pa.field("shopper_key", pa.string()),
        pa.field("asked_by", pa.string()),
        pa.field("client", pa.string()),
    ]
    return pa.schema([*required, *optional, BEYOND])


def conform(table: pa.Table, schema: pa.Schema, origin: str) -> pa.Table:
    """The columns of `schema` from a table of another vintage: what it lacks is null, what it has beyond is dropped.

    Args:
      origin: names the table in the error, such as its file.
    Raises:
      InvalidTrainingData: a column changed its type.
    """
    columns = [
        _cast(table[f.name], f.type, f"{origin}: {f.name}")
        if f.name in table.column_names
        else pa.nulls(len(table), _nullable(f.type))
        for f in schema
    ]
    return pa.table(columns, names=schema.names)


def _cast(column: pa.Array | pa.ChunkedArray, to: pa.DataType, name: str) -> pa.Array:
    """Nullable throughout: a part of an older market may lack what is required today."""
    array = contiguous(column)
    if pa.types.is_struct(to) and pa.types.is_struct(array.type):
        has = {array.type[i].name: i for i in range(array.type.num_fields)}
        wanted = [to[i] for i in range(to.num_fields)]
        parts = [
            _cast(pc.struct_field(array, [has[f.name]]), f.type, f"{name}.{f.name}")
            if f.name in has
            else pa.nulls(len(array), _nullable(f.type))
            for f in wanted
        ]
        return pa.StructArray.from_arrays(parts, names=[f.name for f in wanted])
    if pa.types.is_list(to) and pa.types.is_list(array.type):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), _cast(pc.list_flatten(array), to.value_type, name))
    if array.type.equals(to) or (pa.types.is_map(to) and pa.types.is_map(array.type)):
        return array
    raise InvalidTrainingData(name, f"type {to}", str(array.type))


def contiguous(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column as one array; `combine_chunks` of pyarrow before 15 leaves an empty one chunked."""
    if isinstance(column, pa.Array):
        return column
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, column.type)


def _nullable(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(kind[i].name, _nullable(kind[i].type)) for i in range(kind.num_fields)])
    return pa.list_(_nullable(kind.value_type)) if pa.types.is_list(kind) else kind


def _struct(**fields: pa.DataType) -> pa.StructType:
    return pa.struct([pa.field(name, kind, nullable=False) for name, kind in fields.items()])


def _list(kind: pa.DataType) -> pa.ListType:
    return pa.list_(pa.field("item", kind, nullable=False))
