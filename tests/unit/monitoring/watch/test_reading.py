"""What the watch knows of a part: derived by hand from a few decisions and events of the corner market."""

import pytest
from log_entries import decision, slot
from watched_archive import BEGIN_MS, HOUR_MS, WatchedArchive, corner

from domain.events import CandidateLog
from domain.outcome import Reason
from monitoring.summaries import ALL, REST, Numbers, Series, Slice, Values


@pytest.fixture
def archive(tmp_path):
    return WatchedArchive(tmp_path)


def page(name, *slots, at_ms=0, **changes):
    return decision(name, BEGIN_MS + at_ms, *slots, **changes)


def test_features_are_summarised_as_used(archive):
    archive.decides(page("a", slot("i", "green"), features={"country": "DE", "amount": 10.0, "past_clicks": 2}))
    archive.decides(page("b", slot("j", "red"), slot("k", "green"), features={"country": "NL", "amount": None, "past_clicks": 0}))
    archive.decides(page("c", features={"country": "unknown", "amount": 10.0, "past_clicks": 0}))
    archive.decides(page("d", features={"country": "NL", "amount": 1.5, "past_clicks": 0}))
    archive.write(HOUR_MS)
    by = archive.watched().by()
    # "unknown" is the default, and no value that training has a vocabulary entry for by name: nothing was known.
    assert by[ALL, Series("feature", "country")] == Values(rows=4, missing=1, counts={"DE": 1, "NL": 2})
    # So is the default, 1.5, of an amount; of a counter it is where it starts.
    assert by[ALL, Series("feature", "amount")] == Numbers.of([10, 10, float("nan"), float("nan")])
    assert by[ALL, Series("feature", "past_clicks")] == Numbers.of([2, 0, 0, 0])
    # A slot is a row of what describes the offer: of three, two of the brand leaf.
    assert by[ALL, Series("feature", "brand")] == Values(rows=3, counts={"leaf": 2, "cellar": 1})
    assert by[ALL, Series("probability", "ctr")] == Numbers.of([0.04] * 3)
    assert by[ALL, Series("latency", "total")] == Numbers.of([5000] * 4)
    assert by[ALL, Series("latency", "ranking")] == Numbers.of([2600] * 4)


def test_each_slice_is_summarised_as_if_it_were_alone(archive):
    archive.decides(page("a", slot("i", "green"), slot("j", "red"), features={"country": "DE", "amount": 1.0, "past_clicks": 0}))
    archive.decides(page("b", slot("k", "green"), features={"country": "NL", "amount": 2.0, "past_clicks": 0}))
    archive.write(HOUR_MS)
    by = archive.watched().by()
    tea, wine = Slice("campaign", "tea"), Slice("campaign", "wine")
    assert by[tea, Series("feature", "brand")] == Values(rows=2, counts={"leaf": 2})
    assert by[wine, Series("probability", "cvr")] == Numbers.of([0.2])
    assert by[ALL, Series("slice", "campaign")] == Values(rows=3, counts={"tea": 2, "wine": 1})
    assert (tea, Series("feature", "country")) not in by  # a page is of no campaign


def test_pages_slots_prices_and_losses_are_counted(archive):
    listed = CandidateLog(
        offer_id=["green", "red", "card"],
        source=["ann"] * 3,
        probability={"ctr": [0.1] * 3, "cvr": [0.1] * 3},
        ecpm_micros=[1.0] * 3,
        reason=[Reason.WON, Reason.OUTBID, Reason.BUDGET],
    )
    winners = CandidateLog(
        offer_id=["green"],
        source=["ann"],
        probability={"ctr": [0.1], "cvr": [0.1]},
        ecpm_micros=[1.0],
        reason=[Reason.WON],
        weight=0.0,
        unlisted={"outbid": 7, "targeting": 2},
    )
    archive.decides(page("a", slot("i", price_micros=300), candidates=listed, explored=True))
    archive.decides(page("b", slot("j", price_micros=200), candidates=winners, degraded=["model", "shopper"]))
    archive.decides(page("c", candidates=winners, degraded=["model"]))
    archive.write(HOUR_MS)
    assert archive.watched().flow() == {
        **{"pages": 3, "wanted": 6, "filled": 2, "empty_pages": 1, "explored": 1},
        **{"degraded:model": 2, "degraded:shopper": 1},
        # Each listed loser once, and of the others the numbers by reason: 1 + 7 + 7 were outbid.
        **{"lost:outbid": 15, "lost:budget": 1, "lost:targeting": 4},
        **{"bid_micros": 1_000_000, "price_micros": 500, "hold_micros": 500},
    }


def test_robots_are_counted_and_described_nowhere(archive):
    archive.decides(page("a", slot("i"), invalid="user_agent"))
    archive.decides(page("b", slot("j")))
    archive.write(HOUR_MS)
    known = archive.watched()
    assert known.flow()["invalid_page:user_agent"] == 1
    assert (known.flow()["pages"], known.flow()["filled"]) == (1, 1)
    assert known.by()[ALL, Series("feature", "country")].rows == 1


def test_events_are_flows_of_the_hour_in_which_they_happened(archive):
    archive.happens("impression", "i", BEGIN_MS + 5)
    archive.happens("click", "i", BEGIN_MS + 9, status="settled", charged_micros=250)
    archive.happens("click", "j", BEGIN_MS + 9, status="invalid", reason="too_fast")
    archive.happens("conversion", "k", BEGIN_MS + HOUR_MS, "red", status="late_free")
    archive.happens("adjustment", "i", BEGIN_MS + HOUR_MS + 1, charged_micros=-250, day=1)
    archive.write(2 * HOUR_MS)
    known = archive.watched()
    assert known.flow(0, release="") == {
        "impressions": 1,
        "clicks": 1,
        "invalid:too_fast": 1,
        "charged_micros": 250,
    }
    assert known.flow(1, release="") == {"conversions": 1, "late_free_events": 1, "adjustments": 1, "charged_micros": -250}


def test_releases_and_hours_are_told_apart(archive):
    archive.decides(page("a", release="3"))
    archive.decides(page("b", release="4"))
    archive.decides(page("c", release="4", at_ms=HOUR_MS))
    archive.write(2 * HOUR_MS)
    known = archive.watched()
    assert [known.flow(0, release="3")["pages"], known.flow(0, release="4")["pages"], known.flow(1, release="4")["pages"]] == [
        1,
        1,
        1,
    ]


def test_values_beyond_the_most_are_one(tmp_path):
    archive = WatchedArchive(tmp_path, corner(slices=["country"], slice_values=2))
    for i, country in enumerate(["DE", "DE", "DE", "NL", "NL", "FR", "GB"]):
        archive.decides(page(f"p{i}", features={"country": country, "amount": 1.0, "past_clicks": 0}))
    archive.write(HOUR_MS)
    # The next day begins with those that had the most traffic the day before, whatever comes first.
    for i in range(5):
        archive.decides(page(f"f{i}", at_ms=HOUR_MS, features={"country": "FR", "amount": 1.0, "past_clicks": 0}))
    archive.write(2 * HOUR_MS)
    archive.decides(page("next", at_ms=24 * HOUR_MS, features={"country": "NL", "amount": 1.0, "past_clicks": 0}))
    archive.write(25 * HOUR_MS)
    known = archive.watched()
    pages = {value: known.flow(0, Slice("country", value)).get("pages") for value in ("DE", "NL", "FR", REST)}
    assert pages == {"DE": 3, "NL": 2, "FR": None, REST: 2}
    # FR had 6 pages, DE 3, NL 2: of the next day's two, NL is none.
    assert known.flow(24, Slice("country", REST))["pages"] == 1


def test_of_a_flood_a_stated_share_is_looked_at_closely(tmp_path):
    archive = WatchedArchive(tmp_path, corner(rows_per_hour=1000))
    for i in range(4000):
        archive.decides(page(f"p{i}", slot(f"i{i}")))
    archive.write(HOUR_MS)
    known = archive.watched()
    with known.store() as store:
        assert (store.hours()[0].pages, store.hours()[0].rate) == (4000, 0.25)
    assert known.flow()["pages"] == known.flow()["filled"] == 4000
    # Binomial(4000, 1/4): 1000, give or take 27.
    assert known.by()[ALL, Series("feature", "country")].rows == pytest.approx(1000, abs=5 * 27)


def test_a_clock_that_is_off_moves_nothing_by_more_than_an_hour(archive):
    archive.decides(page("a", at_ms=365 * 24 * HOUR_MS), logged_ms=BEGIN_MS + 10)
    archive.write(HOUR_MS)
    known = archive.watched()
    with known.store() as store:
        assert [h.hour_ms for h in store.hours()] == [BEGIN_MS + HOUR_MS]


def test_a_market_whose_features_changed_reads_older_parts(tmp_path):
    archive = WatchedArchive(tmp_path)
    archive.decides(page("a", slot("i")))
    archive.write(HOUR_MS)
    market = corner()
    text, number = market.features[0], market.features[1]
    swapped = (number.model_copy(update={"name": "country"}), text.model_copy(update={"name": "shop"}), *market.features[2:])
    archive.market = market.model_copy(update={"features": swapped})
    by = archive.watched().by()
    # What was text is no number, and what was not there is missing.
    assert by[ALL, Series("feature", "country")] == Numbers.of([float("nan")])
    assert by[ALL, Series("feature", "shop")] == Values(rows=1, missing=1)
