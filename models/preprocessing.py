"""From raw features to what the network reads: Transform's preprocessing_fn, written once for training and serving.

Every encoding of a feature becomes a column of its own: `<name>:id` (vocabulary or hash), `<name>:bucket` (quantiles),
`<name>:range` and `<name>:rank` (ranks), `<name>:z` (normalised). Features have no colon in their names, so columns never
collide. Where missing is a state of its own, id, bucket and range 0 mean it, rank and z are 0, and `<name>:missing` is 1; known
values come next, out-of-vocabulary buckets last. A cross is one more id column, `<name>*<name>:id`; a bag is `<name>:ids` and
`<name>:weights`.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow_transform as tft

from features.market import Market, load_market
from features.spec import MISSING, CrossSpec, FeatureSpec
from models.legacy_keras import tf

Tensors = dict[str, Any]
LINE_BREAKS = {"\r": "\u240d", "\n": "\u240a"}
"""What stands for line breaks in learned vocabularies: the symbols for them."""
MAX_Z = 8.0  # a value this far out says "huge": its exact size must not carry a linear unit away


class Vocabularies(Protocol):
    """What the size of learned vocabularies is asked of: tft.TFTransformOutput."""

    def vocabulary_size_by_name(self, vocab_filename: str) -> int:
        """Entries without the out-of-vocabulary one."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """The ids that values unseen in training get, and the share of training rows that take one of them instead of their own."""

    first: int
    count: int
    dropout: float


@dataclass(frozen=True, slots=True)
class Group:
    """Columns of the request's features, or of the offers': ids with the size of their range, numbers, bags of ids."""

    ids: tuple[tuple[str, int], ...]
    numbers: tuple[str, ...]
    bags: tuple[tuple[str, int, int], ...] = ()
    """Name, size of the range of its ids, and most values; its columns are `<name>:ids` and `<name>:weights`."""
    unseen: Mapping[str, Unseen] = field(default_factory=dict)
    """Id column -> its ids for unseen values, where they have a share in training."""

    @property
    def ranges(self) -> tuple[tuple[str, int], ...]:
        """Columns that hold ids, each with the size of their range, in the order of the embedding table."""
        return self.ids + tuple((f"{name}:ids", size) for name, size, _ in self.bags)

    def pack(self, columns: Mapping[str, Any]) -> Tensors:
        """Columns, each of length 1 or N -> `GroupEmbedding`'s arguments, N the longest column's length.

        ids      [N, F] int32        bag_ids      [N, W] int32, all bags side by side; only where there are any
        numbers  [N, K] float32      bag_weights  [N, W] float32, 0 beyond what a bag holds
        """
        bag_ids = [columns[f"{name}:ids"] for name, _, _ in self.bags]
        bag_weights = [columns[f"{name}:weights"] for name, _, _ in self.bags]
        chosen = [columns[name] for name, _ in self.ids] + [columns[name] for name in self.numbers] + bag_ids
        length = tf.reduce_max(tf.stack([tf.shape(c)[0] for c in chosen]))
        ids = [tf.broadcast_to(tf.cast(columns[name], tf.int32), [length]) for name, _ in self.ids]
        numbers = [tf.broadcast_to(columns[name], [length]) for name in self.numbers]
        packed = {
            "ids": tf.stack(ids, axis=1) if ids else tf.zeros([length, 0], tf.int32),
            "numbers": tf.stack(numbers, axis=1) if numbers else tf.zeros([length, 0], tf.float32),
        }
        for name, bags, dtype in (("bag_ids", bag_ids, tf.int32), ("bag_weights", bag_weights, tf.float32)):
            if bags:
                packed[name] = tf.concat([tf.broadcast_to(tf.cast(b, dtype), [length, b.shape[1]]) for b in bags], axis=1)
        return packed


@dataclass(frozen=True, slots=True)
class Encoding:
    """The network's whole input; a market without offer features has an empty `offer` group."""

    request: Group
    offer: Group
    pair: Group = Group((), ())
    """What a request and an offer only have together: crosses of features of both. Not for the towers."""

    @property
    def groups(self) -> dict[str, Group]:
        """All that the ranker reads; `pair` only where there is one."""
        return {"request": self.request, "offer": self.offer} | ({"pair": self.pair} if self.pair.ids else {})


def preprocessing_fn(inputs: Tensors, custom_config: dict[str, Any]) -> Tensors:
    """Transform's entry point; `custom_config["market"]` is the path of market.toml."""
    return preprocess(load_market(Path(custom_config["market"])), inputs)


def preprocess(market: Market, inputs: Tensors) -> Tensors:
    """Columns of all features and crosses of a market."""
    outputs: Tensors = {}
    for feature in market.features:
        if feature.multiple:
            outputs.update(_encode_bag(feature, inputs))
        else:
            outputs.update(_encode(feature, inputs[feature.name]))
    by_name = {f.name: f for f in market.features}
    for cross in market.crosses:
        texts = [_text(by_name[name], inputs[name]) for name in cross.features]
        outputs[_cross_column(cross)] = _hash_together(texts, cross.hash_buckets)
    return outputs


def encoding_of(market: Market, vocabularies: Vocabularies) -> Encoding:
    """The columns `preprocessing_fn` makes of a market's features, with the sizes learned in training."""
    return Encoding(
        request=_group(market.request_features, market.crosses_of("request"), vocabularies),
        offer=_group(market.offer_features, market.crosses_of("offer"), vocabularies),
        pair=_group((), market.crosses_of("pair"), vocabularies),
    )


def _group(features: tuple[FeatureSpec, ...], crosses: list[CrossSpec], vocabularies: Vocabularies) -> Group:
    ids: list[tuple[str, int]] = []
    numbers: list[str] = []
    bags: list[tuple[str, int, int]] = []
    unseen: dict[str, Unseen] = {}
    for f in features:
        if f.multiple:
            bags.append((f.name, _vocabulary_size(f, vocabularies) + (f.hash_buckets or f.oov_buckets), f.max_values))
            continue
        own = int(f.missing == "own")
        if f.hash_buckets or f.vocabulary is not None:
            known = own + _vocabulary_size(f, vocabularies)
            others = f.hash_buckets or f.oov_buckets
            ids.append((f"{f.name}:id", known + others))
            if f.id_dropout:
                unseen[f"{f.name}:id"] = Unseen(known, others, f.id_dropout)
        if f.quantiles:
            ids.append((f"{f.name}:bucket", f.quantiles + own))
        if f.ranks:
            ids.append((f"{f.name}:range", f.ranks + 1))
            numbers.append(f"{f.name}:rank")
        if f.normalize:
            numbers += [f"{f.name}:z", f"{f.name}:missing"][: 1 + own]
    ids += [(_cross_column(cross), cross.hash_buckets) for cross in crosses]
    return Group(tuple(ids), tuple(numbers), tuple(bags), unseen)


def _vocabulary_size(f: FeatureSpec, vocabularies: Vocabularies) -> int:
    if isinstance(f.vocabulary, tuple):
        return len(f.vocabulary)
    return 0 if f.vocabulary is None else vocabularies.vocabulary_size_by_name(f.name)


def _encode(f: FeatureSpec, x: Any) -> Tensors:
    missing = is_missing(f, x) if f.missing == "own" else None
    present = x if missing is None else tf.boolean_mask(x, ~missing)

    def after_missing(ids: Any) -> Any:
        return ids if missing is None else tf.where(missing, tf.zeros_like(ids), ids + 1)

    columns: Tensors = {}
    if f.hash_buckets or f.vocabulary is not None:
        columns[f"{f.name}:id"] = after_missing(_ids(f, x, present))
    if f.quantiles:
        boundaries = tft.quantiles(present, f.quantiles, epsilon=min(1 / f.quantiles, 0.01))
        columns[f"{f.name}:bucket"] = after_missing(tft.apply_buckets(x, boundaries))
    if f.ranks:
        columns |= _ranked(f, x, f.ranks)
    if f.normalize:
        z = _normalized(tf.cast(x, tf.float32), tf.cast(present, tf.float32))
        columns[f"{f.name}:z"] = z if missing is None else tf.where(missing | ~tf.math.is_finite(z), 0.0, z)
        if missing is not None:
            columns[f"{f.name}:missing"] = tf.cast(missing, tf.float32)
    return columns


def _ranked(f: FeatureSpec, x: Any, ranks: int) -> Tensors:
    """Range 0 is the default, or what is missing; the rank has mean 0 and standard deviation 1 over all other values.

    Of a column that is mostly 0 the zeros would take most quantiles, and the others share what is left. A rank has no tail.
    """
    apart = is_missing(f, x) if f.missing == "own" else tf.equal(x, tf.cast(f.default, x.dtype))
    cuts = tft.quantiles(tf.boolean_mask(x, ~apart), ranks, epsilon=min(1 / ranks, 0.01))
    after = tft.apply_buckets(x, cuts)  # how many cuts are no greater
    at, last = tf.cast(cuts[0], tf.float64), tf.shape(cuts, tf.int64)[1] - 1
    low, high = (tf.gather(at, tf.clip_by_value(i, 0, last)) for i in (after - 1, after))
    within = tf.clip_by_value(tf.math.divide_no_nan(tf.cast(x, tf.float64) - low, high - low), 0.0, 1.0)
    share = (tf.cast(tf.clip_by_value(after - 1, 0, last), tf.float64) + within) / tf.cast(tf.maximum(last, 1), tf.float64)
    rank = tf.cast((share - 0.5) * np.sqrt(12), tf.float32)
    if f.missing == "own":
        rank = tf.where(apart | ~tf.math.is_finite(rank), 0.0, rank)
    return {f"{f.name}:range": tf.where(apart, tf.zeros_like(after), after + 1), f"{f.name}:rank": rank}


def _encode_bag(f: FeatureSpec, inputs: Tensors) -> Tensors:
    """[N, max_values] ids and weights, both 0 where a list has ended."""
    x = inputs[f.name]
    held = ~is_missing(f, x)
    ids = _ids(f, x, tf.boolean_mask(x, held))
    weights = inputs[f"{f.name}_weights"] if f.weighted else tf.ones_like(ids, tf.float32)
    return {
        f"{f.name}:ids": tf.where(held, ids, tf.zeros_like(ids)),
        f"{f.name}:weights": tf.where(held, weights, tf.zeros_like(weights)),
    }


def is_missing(f: FeatureSpec, x: Any) -> Any:
    """Whether each value is the one that stands for none."""
    return tf.math.is_nan(x) if f.dtype == "float" else tf.equal(x, MISSING[f.dtype])


def _ids(f: FeatureSpec, x: Any, known: Any) -> Any:
    """Ids of x; a vocabulary is learned from `known`."""
    if f.hash_buckets:
        return tf.strings.to_hash_bucket_fast(_text(f, x), f.hash_buckets)
    if isinstance(f.vocabulary, tuple):
        return tft.make_and_track_object(_table(f, f.vocabulary), name=f.name).lookup(x)
    learned = tft.vocabulary(_in_one_line(f, known), top_k=f.vocabulary, vocab_filename=f.name)
    return tft.apply_vocabulary(_in_one_line(f, x), learned, num_oov_buckets=f.oov_buckets)


def _in_one_line(f: FeatureSpec, x: Any) -> Any:
    """A vocabulary is a file of lines, and would leave out what has several."""
    for line_break, symbol in LINE_BREAKS.items() if f.dtype == "string" else ():
        x = tf.strings.regex_replace(x, line_break, symbol)
    return x


def _text(f: FeatureSpec, x: Any) -> Any:
    return x if f.dtype == "string" else tf.strings.as_string(x)


def _hash_together(texts: list[Any], buckets: int) -> Any:
    """Strings, each [1] or [N] -> ids [N]: a request's value meets those of all offers."""
    shape = functools.reduce(tf.broadcast_dynamic_shape, [tf.shape(t) for t in texts])
    joined = tf.strings.join([tf.broadcast_to(t, shape) for t in texts], separator="\x1f")
    return tf.strings.to_hash_bucket_fast(joined, buckets)


def _cross_column(cross: CrossSpec) -> str:
    return f"{'*'.join(cross.features)}:id"


def _normalized(x: Any, present: Any) -> Any:
    """Mean 0, standard deviation 1, within the range seen in training: a network says nothing true beyond it.

    Learned from a morning's log, an hour of the evening would otherwise carry each logit as far away as it likes.
    """
    seen = tf.clip_by_value(x, tft.min(present), tft.max(present))
    z = tf.math.divide_no_nan(seen - tft.mean(present), tf.sqrt(tft.var(present)))
    return tf.clip_by_value(z, -MAX_Z, MAX_Z)


def _table(f: FeatureSpec, vocabulary: tuple[str | int, ...]) -> Callable[[], Any]:
    """A look-up of a given vocabulary; anything else is hashed into the ids beyond its end."""
    dtype = tf.string if f.dtype == "string" else tf.int64

    def build() -> Any:
        keys = tf.constant(list(vocabulary), dtype=dtype)
        values = tf.range(len(vocabulary), dtype=tf.int64)
        initializer = tf.lookup.KeyValueTensorInitializer(keys, values)
        return tf.lookup.StaticVocabularyTable(initializer, f.oov_buckets, lookup_key_dtype=dtype)

    return build
