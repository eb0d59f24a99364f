"""completejourney: households and the coupons that retail campaigns sent them, one row per household, campaign and coupon.

Everything about the past is counted up to the day before a row's campaign starts, so that nothing of what the campaign brought
about is known to its own rows. The year is short and redemption grew over it: counts go back 120 days, which hold one big
campaign, and coupons are compared with each other, so that both mean the same in May and in October. No feature is of a
household *and* a coupon: each can be sent with a request or stand in a catalogue.
"""

from pathlib import Path

import pandas as pd

AISLES = {  # departments that matter, by a short name
    "grocery": ("GROCERY", "FROZEN GROCERY"),
    "drug": ("DRUG GM", "COSMETICS", "NUTRITION"),
    "meat": ("MEAT", "MEAT-PCKGD", "SEAFOOD", "SEAFOOD-PCKGD"),
    "produce": ("PRODUCE", "SALAD BAR"),
    "deli": ("DELI", "PASTRY"),
}
KEY = ["campaign_id", "coupon_upc"]
PRIOR_HOUSEHOLDS = 100
RECENT = pd.Timedelta(days=120)


def journey(folder: Path) -> pd.DataFrame:
    """The eligible pairs with `redeemed`; rows in the order of `start_date`, which splits them."""
    source = folder / "completejourney"
    text = {"coupon_upc": str, "campaign_id": str, "household_id": str, "kids_count": str}
    read = {
        path.name.removesuffix(".csv.gz"): pd.read_csv(path, dtype=text, keep_default_na=False)
        for path in sorted(source.glob("*.csv.gz"))
        if not path.name.startswith("promotions")
    }
    return pairs(**_typed(read))


def pairs(
    campaigns: pd.DataFrame,
    campaign_descriptions: pd.DataFrame,
    coupons: pd.DataFrame,
    coupon_redemptions: pd.DataFrame,
    demographics: pd.DataFrame,
    products: pd.DataFrame,
    transactions_sample: pd.DataFrame,
) -> pd.DataFrame:
    """Joins the published tables; each past is that of the row's campaign's first day."""
    offered = _offered(coupons, products)
    aisle = {department: name for name, departments in AISLES.items() for department in departments}
    redeemed = coupon_redemptions.merge(offered[[*KEY, "department", "category"]], on=KEY)
    redeemed["aisle"] = redeemed["department"].map(aisle)
    bought = transactions_sample.merge(products[["product_id", "department"]], on="product_id")
    bought["aisle"] = bought["department"].map(aisle)
    sent = campaigns.merge(campaign_descriptions, on="campaign_id")
    eligible = offered[[*KEY, "category"]].merge(sent.groupby("campaign_id", as_index=False).agg(
        households=("household_id", "size"), start_date=("start_date", "first")), on="campaign_id")  # fmt: skip
    rows = []
    for start, now in sent.groupby("start_date"):
        shoppers = _shoppers(now, start, sent, redeemed, bought).merge(demographics, on="household_id", how="left")
        offers = _offers(offered[offered["campaign_id"].isin(now["campaign_id"])], start, redeemed, eligible)
        rows.append(shoppers.merge(offers, on="campaign_id"))
    labels = coupon_redemptions[[*KEY, "household_id"]].drop_duplicates().assign(redeemed=1)
    table = pd.concat(rows, ignore_index=True).merge(labels, on=[*KEY, "household_id"], how="left")
    table["redeemed"] = table["redeemed"].fillna(0).astype(int)
    return table.fillna(dict.fromkeys(demographics.columns, ""))


def _typed(read: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Dates as dates."""
    for table, columns in {
        "campaign_descriptions": ["start_date", "end_date"],
        "coupon_redemptions": ["redemption_date"],
        "transactions_sample": ["transaction_timestamp"],
    }.items():
        for column in columns:
            read[table][column] = pd.to_datetime(read[table][column])
    return read


def _offered(coupons: pd.DataFrame, products: pd.DataFrame) -> pd.DataFrame:
    """Each campaign's coupons, described by the products they are good for; of a description the most frequent value."""
    covered = coupons.merge(products, on="product_id")
    names = {
        "department": "department",
        "category": "product_category",
        "product_type": "product_type",
        "brand": "brand",
        "manufacturer": "manufacturer_id",
    }
    described = covered.groupby(KEY, as_index=False).agg(products=("product_id", "size"))
    for name, column in names.items():
        counted = covered.groupby([*KEY, column], as_index=False).size()
        counted = counted.sort_values(["size", column], ascending=[False, True]).drop_duplicates(KEY)
        described = described.merge(counted[[*KEY, column]].rename(columns={column: name}), on=KEY)
    return described.astype({"manufacturer": str})


def _shoppers(
    now: pd.DataFrame, start: pd.Timestamp, sent: pd.DataFrame, redeemed: pd.DataFrame, bought: pd.DataFrame
) -> pd.DataFrame:
    """What is known of the households of the campaigns that start on a day."""
    redeemed = redeemed[redeemed["redemption_date"] < start]
    recently = redeemed[redeemed["redemption_date"] >= start - RECENT]
    past = sent[sent["start_date"].between(start - RECENT, start, inclusive="left")]
    bought = bought[bought["transaction_timestamp"].between(start - RECENT, start, inclusive="left")]
    shoppers = now[["household_id", "campaign_id", "campaign_type", "start_date"]].assign(
        campaign_days=(now["end_date"] - now["start_date"]).dt.days
    )
    counts = {
        "campaigns_before": past.groupby("household_id").size(),
        "redemptions_before": recently.groupby("household_id").size(),
        "redemption_trips_before": recently.groupby("household_id")["redemption_date"].nunique(),
        "purchases_before": bought.groupby("household_id").size(),
    }
    for name in AISLES:
        counts[f"redeemed_{name}"] = recently[recently["aisle"] == name].groupby("household_id").size()
        counts[f"bought_{name}"] = bought[bought["aisle"] == name].groupby("household_id").size()
    for name, count in counts.items():
        shoppers[name] = shoppers["household_id"].map(count).fillna(0).astype(int)
    last = shoppers["household_id"].map(redeemed.groupby("household_id")["redemption_date"].max())
    shoppers["days_since_redemption"] = (start - last).dt.days.fillna(365).astype(int)
    shoppers["spent_before"] = shoppers["household_id"].map(bought.groupby("household_id")["sales_value"].sum()).fillna(0.0)
    favourite = redeemed.groupby("household_id")["category"].agg(lambda c: c.value_counts().sort_index(kind="stable").idxmax())
    shoppers["favourite_category"] = shoppers["household_id"].map(favourite).fillna("")
    return shoppers


def _offers(offered: pd.DataFrame, start: pd.Timestamp, redeemed: pd.DataFrame, eligible: pd.DataFrame) -> pd.DataFrame:
    """Coupons with how much likelier than the average one households were to use them in earlier campaigns.

    rate = (used + 100 rate of the category, or of all coupons) / (households reached + 100)
    lift = rate / rate of all coupons
    """
    redeemed = redeemed[redeemed["redemption_date"] < start]
    eligible = eligible[eligible["start_date"] < start]
    offers = offered.copy()
    rate = of_all = (len(redeemed) + 1) / (eligible["households"].sum() + 1000)
    for name, column in (("category", "category"), ("coupon", "coupon_upc")):
        used = offers[column].map(redeemed.groupby(column).size()).fillna(0)
        reached = offers[column].map(eligible.groupby(column)["households"].sum()).fillna(0)
        rate = (used + PRIOR_HOUSEHOLDS * rate) / (reached + PRIOR_HOUSEHOLDS)
        offers[f"{name}_reached_before"] = reached.astype(int)
        offers[f"{name}_lift_before"] = rate / of_all
    return offers
