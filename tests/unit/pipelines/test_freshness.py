"""When a training goes on from the newest release, and when it begins anew."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.errors import ContractError
from features.market import Market, parse_market
from models import release
from models.calibration import Calibrator, TaskCalibration
from models.release import FinalLabels, Origin
from pipelines.freshness import held_out_alike, learned_through_ms, release_to_continue, seen
from pipelines.recalibration import newest_release
from pipelines.splits import held_out
from tests.unit.pipelines.conftest import MARKET, MakeMarket

HOUR_MS, DAY_S = 3_600_000, 86_400
FULL_MS = 1_000 * HOUR_MS


@pytest.fixture
def market(make_market: MakeMarket) -> Market:
    return make_market()


def write_release(releases: Path, market: Market, version: int, **origin: Any) -> None:
    """A sealed release whose model is a few bytes."""
    folder = releases / str(version)
    for name in (*release.REQUIRED, release.WEIGHTS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    specs = release.FeatureSpecs.of(market)
    (folder / release.FEATURE_SPEC).write_text(specs.model_dump_json())
    (folder / release.CALIBRATOR).write_text(
        Calibrator(tasks={t.name: TaskCalibration() for t in market.tasks}).model_dump_json()
    )
    np.savez(folder / release.OFFERS, ids=np.array(["o"]), embeddings=np.eye(1, 2, dtype=np.float32))
    manifest = release.Manifest(
        **{"trained_through_ms": FULL_MS, "labels": FinalLabels.of(market, FULL_MS), "rows": {"train": 1}} | origin,
        version=version,
        market=market.name,
        created_ms=FULL_MS,
        inputs=release.inputs_of(market),
        tasks=tuple(t.name for t in market.tasks),
        embedding_dim=2,
        packages={},
    )
    release.seal(folder, manifest)


def test_it_goes_on_from_the_newest_release(market: Market, tmp_path: Path) -> None:
    write_release(tmp_path, market, 9)
    write_release(tmp_path, market, 10)
    found, why = release_to_continue(market, tmp_path, FULL_MS + HOUR_MS, DAY_S)
    assert found is not None
    assert found.version == 10
    assert why == "release 10 goes on from what it has learned"


def test_a_newest_release_that_is_not_whole_is_no_release_here_either(market: Market, tmp_path: Path) -> None:
    write_release(tmp_path, market, 9)
    write_release(tmp_path, market, 10)
    (tmp_path / "10" / release.WEIGHTS).unlink()  # it is still being copied, say
    found, _ = release_to_continue(market, tmp_path, FULL_MS + HOUR_MS, DAY_S)
    assert found is not None
    assert found.version == 9
    assert newest_release(tmp_path).version == 9
    (tmp_path / "9" / release.CALIBRATOR).unlink()
    assert release_to_continue(market, tmp_path, FULL_MS, DAY_S)[1].endswith("10/assets.extra/weights.npz: no such file")
    with pytest.raises(ContractError, match=r"10/assets\.extra/weights\.npz: no such file"):
        newest_release(tmp_path)


def test_without_a_release_it_begins_anew(market: Market, tmp_path: Path) -> None:
    assert release_to_continue(market, tmp_path / "none", FULL_MS, DAY_S) == (None, "there is no release yet")


def test_a_full_training_is_due_by_the_age_of_the_last_one_not_of_the_last_release(market: Market, tmp_path: Path) -> None:
    write_release(tmp_path, market, 9, warm_from=8, full_ms=FULL_MS - 23 * HOUR_MS)
    assert release_to_continue(market, tmp_path, FULL_MS + HOUR_MS - 1, DAY_S)[0] is not None
    assert release_to_continue(market, tmp_path, FULL_MS + HOUR_MS, DAY_S) == (None, "the last full training was 24.0 h ago")


def test_each_training_is_full_where_that_is_asked_for(market: Market, tmp_path: Path) -> None:
    write_release(tmp_path, market, 9)
    assert release_to_continue(market, tmp_path, FULL_MS, 0)[0] is None


def test_a_full_training_that_brought_no_release_leaves_the_turns_to_incremental_ones_until_the_next_is_due(
    market: Market, tmp_path: Path
) -> None:
    write_release(tmp_path, market, 9, warm_from=8, full_ms=FULL_MS - 30 * HOUR_MS)
    tried_ms = FULL_MS + 6 * HOUR_MS
    found, why = release_to_continue(market, tmp_path, tried_ms + HOUR_MS, DAY_S, tried_ms)
    assert found is not None
    assert why == "release 9 goes on from what it has learned; the full training 1.0 h ago brought no release"
    assert release_to_continue(market, tmp_path, tried_ms + 24 * HOUR_MS - 1, DAY_S, tried_ms)[0] is not None
    due = (None, "the last full training was 24.0 h ago")
    assert release_to_continue(market, tmp_path, tried_ms + 24 * HOUR_MS, DAY_S, tried_ms) == due


def test_a_clock_that_was_ahead_puts_off_no_full_training(market: Market, tmp_path: Path) -> None:
    write_release(tmp_path, market, 9)
    ahead_ms = FULL_MS + 1_000 * HOUR_MS
    assert release_to_continue(market, tmp_path, FULL_MS + 24 * HOUR_MS, DAY_S, ahead_ms)[0] is None
    assert release_to_continue(market, tmp_path, FULL_MS - 1, DAY_S)[0] is None


AS_OF_MS = 2_000 * HOUR_MS
CLICK_S, CONVERSION_S = 3_600, 7 * 86_400  # of a market that sets none


def learned(market: Market, **origin: Any) -> dict[str, int]:
    return learned_through_ms(market, Origin(rows={}, **origin))


def test_a_label_is_unseen_where_it_was_not_final_as_of_the_last_training(market: Market) -> None:
    # The newest decision of a training as of hour 2000 is an hour old, when its click is final; the newest final conversion
    # is of a decision a click window and a conversion window old.
    labels, through_ms = FinalLabels.of(market, AS_OF_MS), AS_OF_MS - HOUR_MS - 5
    found = learned(market, trained_through_ms=through_ms, labels=labels)
    assert found == {"click": through_ms, "conversion": AS_OF_MS - 1000 * (CLICK_S + CONVERSION_S)}


def test_windows_are_those_by_which_the_release_learned(market: Market, make_market: MakeMarket) -> None:
    made = {"trained_through_ms": AS_OF_MS, "labels": FinalLabels.of(market, AS_OF_MS)}
    assert learned(make_market(conversion_window_s=60), **made) == learned(market, **made)


def test_labels_that_enter_before_they_are_final_are_seen_with_their_decision(market: Market, make_market: MakeMarket) -> None:
    assert learned(market, trained_through_ms=AS_OF_MS) == {"click": AS_OF_MS, "conversion": AS_OF_MS}
    weighted = make_market(delayed_labels="importance")
    found = learned(weighted, trained_through_ms=AS_OF_MS, labels=FinalLabels.of(weighted, AS_OF_MS))
    assert found == {"click": AS_OF_MS - 1000 * CLICK_S, "conversion": AS_OF_MS}


def test_a_release_of_rows_from_elsewhere_does_not_say_what_it_has_seen(market: Market) -> None:
    assert learned(market) == {}


def test_rows_are_seen_up_to_a_time_and_those_without_one_are_not() -> None:
    rows = {"time_ms": np.array([-1, 0, 5, 6])}
    assert seen(rows, 5).tolist() == [False, True, True, False]
    assert seen(rows, None).tolist() == [False] * 4


def test_a_split_by_hash_holds_out_the_same_rows_from_every_training(make_market: MakeMarket) -> None:
    by_shopper = {"kind": "hash", "by": "shopper"}
    market = make_market(split=by_shopper)
    made = Origin(rows={}, held_out=held_out(market.training.split, market.model.seed))
    assert held_out_alike(market, made)
    assert not held_out_alike(make_market(split=by_shopper | {"eval_fraction": 0.3}), made)
    assert not held_out_alike(market.model_copy(update={"model": market.model.model_copy(update={"seed": 2})}), made)
    assert not held_out_alike(make_market(), Origin(rows={}))


CHANGES: dict[str, dict[str, Any]] = {
    "features": {"features": MARKET["features"][1:]},
    "crosses": {"crosses": [{"features": [f["name"] for f in MARKET["features"][:2]], "hash_buckets": 9}]},
    "tasks": {"tasks": MARKET["tasks"][:-1]},
}


@pytest.mark.parametrize("key", CHANGES)
def test_other_features_crosses_or_tasks_begin_anew(market: Market, tmp_path: Path, key: str) -> None:
    write_release(tmp_path, market, 9)
    other = parse_market(MARKET | CHANGES[key])
    found, why = release_to_continue(other, tmp_path, FULL_MS, DAY_S)
    assert found is None
    assert why == "release 9 was trained for other features, crosses or tasks than the market now has"


def test_other_offers_campaigns_and_network_do_not(market: Market, tmp_path: Path) -> None:
    write_release(tmp_path, market, 9)
    offers = [*MARKET["offers"], MARKET["offers"][0] | {"id": "new"}]
    other = parse_market(MARKET | {"offers": offers, "model": {"hidden_units": [7]}})
    assert release_to_continue(other, tmp_path, FULL_MS, DAY_S)[0] is not None


def test_a_release_of_other_rows_than_the_logs_says_so(market: Market, tmp_path: Path) -> None:
    write_release(tmp_path, market, 9, trained_through_ms=None)
    assert release_to_continue(market, tmp_path, FULL_MS, DAY_S) == (None, "release 9 was not trained on the log")


@pytest.mark.parametrize(
    "training",
    [{"click_window_s": 60}, {"conversion_window_s": 60}, {"delayed_labels": "ignore"}, {"delayed_labels": "importance"}],
)
def test_labels_by_other_windows_begin_anew(
    market: Market, make_market: MakeMarket, tmp_path: Path, training: dict[str, Any]
) -> None:
    write_release(tmp_path, market, 9)
    found, why = release_to_continue(make_market(**training), tmp_path, FULL_MS, DAY_S)
    assert found is None
    assert why == "release 9 learned from labels by other windows, or by another training.delayed_labels"


def test_a_release_that_does_not_say_which_labels_were_final_took_them_as_known(
    market: Market, make_market: MakeMarket, tmp_path: Path
) -> None:
    write_release(tmp_path, market, 9, labels=None)
    assert release_to_continue(market, tmp_path, FULL_MS, DAY_S)[0] is None
    assert release_to_continue(make_market(delayed_labels="ignore"), tmp_path, FULL_MS, DAY_S)[0] is not None


def test_a_damaged_release_is_named_and_passed_over(market: Market, tmp_path: Path) -> None:
    write_release(tmp_path, market, 9)
    (tmp_path / "9" / release.WEIGHTS).write_bytes(b"other")
    found, why = release_to_continue(market, tmp_path, FULL_MS, DAY_S)
    assert found is None
    assert release.WEIGHTS in why
