from features.market import parse_market
from pipelines.schema import schema_of
from tests.unit.pipelines.conftest import MARKET


def test_lists_have_their_length_and_any_values() -> None:
    tags = {"name": "tags", "source": "offer", "multiple": True, "max_values": 3, "weighted": True, "vocabulary": ["a"]}
    colour = {"name": "colour", "source": "context", "missing": "own", "vocabulary": ["red", "blue"]}
    schema = {f.name: f for f in schema_of(parse_market(MARKET | {"features": [tags, colour]})).feature}
    assert {name: [d.size for d in f.shape.dim] for name, f in schema.items()} == {
        **{"tags": [3], "tags_weights": [3]},
        **{"colour": [], "click": [], "conversion": []},
        **{"click_usable": [], "conversion_usable": [], "cvr_counts": [], "time_ms": [], "cluster_id": []},
        **{"explored": [], "propensity_ppb": [], "log_row": []},
    }
    assert all(f.presence.min_fraction == 1 for f in schema.values())
    # What stands for a missing colour is none of the unknown ones.
    assert list(schema["colour"].string_domain.value) == ["", "blue", "red"]
    assert not schema["tags"].HasField("string_domain")
