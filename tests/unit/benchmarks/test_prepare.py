"""What is made of the published files: every column its market names, no label among them, no future in the past."""

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.models.datasets import DATA_SETS, EXAMPLES
from benchmarks.models.journey import pairs
from benchmarks.models.prepare import CENSUS_COLUMNS, bank, census
from features.market import load_market


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/market.toml")), ids=lambda p: p.parent.name)
def test_every_market_loads(path: Path) -> None:
    assert load_market(path).tasks


def _named(name: str) -> set[str]:
    market = load_market(DATA_SETS[name].market_file)
    return {f.log_column for f in market.features} | {t.log_column for t in market.tasks}


def test_a_bank_call_does_not_know_its_own_length(published: Path) -> None:
    calls = bank(published)
    assert "duration" not in calls
    assert set(calls) == _named("bank")
    assert set(calls["subscribed"]) == {0, 1}


def test_a_person_of_the_census_has_two_labels_and_neither_as_a_feature(tmp_path: Path) -> None:
    def person(income: str, marital: str) -> str:
        known = {"age": "38", "industry_code": "06", "marital_status": marital, "income": income, "hispanic_origin": "NA"}
        return ", ".join(known.get(name, "0") for name in CENSUS_COLUMNS)

    (tmp_path / "census_income_kdd").mkdir()
    lines = [person("- 50000.", "Never married"), person("50000+.", "Divorced")]
    (tmp_path / "census_income_kdd" / "census-income.test.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    people = census(tmp_path)
    assert people["income_above_50k"].tolist() == [0, 1]
    assert people["never_married"].tolist() == [1, 0]
    assert set(people) == _named("census")
    assert people["industry_code"].tolist() == ["06", "06"]  # a code, not the number 6
    assert people["hispanic_origin"].tolist() == ["NA", "NA"]  # an answer, not a missing one


def _published() -> dict[str, Any]:
    """Campaign A from March and B from June; coupon 1 is in both, 2 in B, 3 in A. Household h is in both, i in B, j in A."""
    day = pd.to_datetime
    return {
        "campaigns": pd.DataFrame({"campaign_id": ["A", "A", "B", "B"], "household_id": ["h", "j", "h", "i"]}),
        "campaign_descriptions": pd.DataFrame(
            {
                "campaign_id": ["A", "B"],
                "campaign_type": ["Type A", "Type B"],
                "start_date": day(["2017-03-01", "2017-06-01"]),
                "end_date": day(["2017-06-20", "2017-07-01"]),
            }
        ),
        "coupons": pd.DataFrame(
            {
                "coupon_upc": ["1", "1", "3", "1", "2"],
                "product_id": [10, 11, 12, 10, 12],
                "campaign_id": ["A", "A", "A", "B", "B"],
            }
        ),
        "coupon_redemptions": pd.DataFrame(
            {
                "household_id": ["h", "h", "i"],
                "coupon_upc": ["1", "1", "2"],
                "campaign_id": ["A", "A", "B"],
                "redemption_date": day(["2017-04-01", "2017-06-01", "2017-06-02"]),
            }
        ),
        "demographics": pd.DataFrame({"household_id": ["h"], "age": ["45-54"]}),
        "products": pd.DataFrame(
            {
                "product_id": [10, 11, 12],
                "manufacturer_id": [7, 7, 8],
                "department": ["GROCERY", "GROCERY", "MEAT"],
                "brand": ["National", "National", "Private"],
                "product_category": ["CHEESE", "CHEESE", "BEEF"],
                "product_type": ["HARD", "SOFT", "STEAK"],
            }
        ),
        "transactions_sample": pd.DataFrame(
            {
                "household_id": ["h", "h"],
                "product_id": [12, 12],
                "sales_value": [4.0, 9.0],
                "transaction_timestamp": day(["2017-05-31 20:00", "2017-06-01 00:00"]),
            }
        ),
    }


@pytest.fixture
def journey_rows() -> pd.DataFrame:
    return pairs(**_published()).set_index(["campaign_id", "household_id", "coupon_upc"]).sort_index()


def test_each_eligible_pair_is_a_row_and_redeeming_it_twice_is_one_positive(journey_rows: pd.DataFrame) -> None:
    assert journey_rows["redeemed"].to_dict() == {
        ("A", "h", "1"): 1,
        ("A", "h", "3"): 0,
        ("A", "j", "1"): 0,
        ("A", "j", "3"): 0,
        ("B", "h", "1"): 0,
        ("B", "h", "2"): 0,
        ("B", "i", "1"): 0,
        ("B", "i", "2"): 1,
    }


def test_the_past_ends_the_day_before_the_campaign(journey_rows: pd.DataFrame) -> None:
    first, second = journey_rows.loc[("A", "h", "1")], journey_rows.loc[("B", "h", "1")]
    assert (first["redemptions_before"], first["purchases_before"], first["campaigns_before"]) == (0, 0, 0)
    # Of two redemptions and two purchases one each falls on the day campaign B starts.
    assert (second["redemptions_before"], second["redeemed_grocery"], second["days_since_redemption"]) == (1, 1, 61)
    assert (second["purchases_before"], second["bought_meat"], second["spent_before"]) == (1, 1, 4.0)
    assert second["favourite_category"] == "CHEESE"


def test_a_coupon_knows_how_it_and_its_category_did_in_earlier_campaigns(journey_rows: pd.DataFrame) -> None:
    # Campaign A sent coupons 1 and 3 to two households each; before campaign B one of the four pairs was redeemed, a 1.
    every = (1 + 1) / (4 + 1000)
    cheese, beef = (1 + 100 * every) / (2 + 100), (0 + 100 * every) / (2 + 100)
    known, new, first = (journey_rows.loc[key] for key in (("B", "i", "1"), ("B", "i", "2"), ("A", "h", "1")))
    assert (known["coupon_reached_before"], known["category_reached_before"]) == (2, 2)
    assert known["category_lift_before"] == pytest.approx(cheese / every)
    assert known["coupon_lift_before"] == pytest.approx((1 + 100 * cheese) / (2 + 100) / every)
    assert (new["coupon_reached_before"], new["category_reached_before"]) == (0, 2)
    assert new["coupon_lift_before"] == pytest.approx(beef / every)
    assert (first["coupon_reached_before"], first["coupon_lift_before"]) == (0, 1.0)


def test_what_a_household_did_more_than_120_days_ago_is_not_counted() -> None:
    published = _published()
    published["campaign_descriptions"]["start_date"] = pd.to_datetime(["2017-03-01", "2017-08-15"])
    row = pairs(**published).set_index(["campaign_id", "household_id", "coupon_upc"]).loc[("B", "h", "1")]
    # April's redemption and March's campaign are too old; how long ago it was is known still.
    assert (row["redemptions_before"], row["purchases_before"], row["campaigns_before"]) == (1, 2, 0)
    assert row["days_since_redemption"] == 75


def test_a_household_of_which_nothing_is_known_has_empty_answers(journey_rows: pd.DataFrame) -> None:
    assert journey_rows.loc[("B", "i", "1"), "age"] == ""
    assert journey_rows.loc[("B", "h", "1"), "age"] == "45-54"
