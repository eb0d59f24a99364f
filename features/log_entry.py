"""How a decision travels in its entry of the decision stream: JSON, deflated.

    z1   raw deflate of the JSON of a `domain.events.Decision`, primed with `_PRIMER_1`
    d    the JSON itself, as gateways wrote it before

A candidate's probabilities and eCPM are rounded to float32, which is what the model computes in; what is sold keeps all digits.
`python -m benchmarks.log_entry` measures both: bytes and time.
"""

import zlib
from collections.abc import Mapping
from dataclasses import fields

import numpy as np
import orjson

from domain.events import CandidateLog, Decision

DEFLATED, PLAIN = b"z1", b"d"
_LEVEL, _WINDOW, _MEMORY = 1, -13, 7  # the raw deflate of a window of 8 kB: setting up a larger one costs more than it saves
# What every decision says, so that not even the first word of one has to be spelt out. Entries in Redis depend on every byte of
# it: a better primer needs a name of its own beside `z1`.
_PRIMER_1 = (
    b'"unlisted":{"frequency_cap":,"targeting":,"schedule":,"budget":,"below_floor":,"not_explored":,"advertiser_exclusion":,"outbid":'
    b'"cold-start","cpm","cpa","cpc",["ranker","shopper","retrieval","budgets"],"new","popular","popular","ann","ann",null,null,'
    b'{"decision_id":"","time_ms":1800000000000,"day":20833,"policy_id":"","release":"1800000000","shopper_key":"","features":'
    b'{"country":"DE","device":"mobile","amount":,"hour":,"past_impressions":0,"past_clicks":0},"slots":[{"position":0,'
    b'"placement":"main","impression_id":"-0","offer_id":"","campaign_id":"","advertiser":"","bid_kind":"cpc","bid_micros":,'
    b'"price_micros":,"hold_micros":,"pacing_multiplier":1.0,"probability":{"ctr":0.0,"cvr":0.0},"ecpm_micros":,'
    b'"propensity":0.9,"features":{"offer_id":"","brand":"","category":""}}],"candidates":{"offer_id":[""],"source":["ann"],'
    b'"probability":{"ctr":[0.0],"cvr":[0.0]},"ecpm_micros":[null],"reason":[0,102,102,505,505],"weight":0.0,"unlisted":{"outbid":'
    b'}},"explored":false,"degraded":[],"stage_us":{"shopper":,"retrieval":,"ranking":,"auction":,"hold":},"total_us":}'
)
_DECISION, _CANDIDATES = ([f.name for f in fields(of)] for of in (Decision, CandidateLog))


def deflated(made: Decision) -> bytes:
    """Field `z1` of the stream entry."""
    listed = {name: getattr(made.candidates, name) for name in _CANDIDATES}
    listed["probability"] = {task: np.array(p, np.float32) for task, p in made.candidates.probability.items()}
    listed["ecpm_micros"] = np.array(made.candidates.ecpm_micros, np.float32)
    whole = {name: getattr(made, name) for name in _DECISION} | {"candidates": listed}
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, _PRIMER_1)
    return packer.compress(orjson.dumps(whole, option=orjson.OPT_SERIALIZE_NUMPY)) + packer.flush()


def decision_json(entry: Mapping[bytes, bytes]) -> bytes:
    """The JSON of an entry's decision, unchecked.

    Raises:
      ValueError: the entry has another field, or one that was not deflated by the above.
    """
    match [*entry.items()]:
        case [(b"d", plain)]:
            return plain
        case [(b"z1", packed)]:
            return _inflated(packed)
    raise ValueError(f"entry: expected the field {DEFLATED.decode()} or {PLAIN.decode()}, got {sorted(map(repr, entry))}")


def _inflated(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj(_WINDOW, _PRIMER_1)
    try:
        plain = unpacker.decompress(packed)
    except zlib.error as e:
        raise ValueError(f"z1: {e}") from None
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError(f"z1: expected one deflated decision, got {'more' if unpacker.eof else 'a part of one'}")
    return plain
