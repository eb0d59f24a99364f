"""Public data sets as tables that `offerrank train` reads: a zip, a file without a header, and a join.

python -m benchmarks.models.prepare --data bank --out bank.parquet

docs/models.md names the publishers. The market files in examples/ describe the columns.
"""

import argparse
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from benchmarks.models.journey import journey

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY / ".." / "shared" / "data"
CENSUS_COLUMNS = (  # as census-income.names has them, which the file itself does not
    *("age", "class_of_worker", "industry_code", "occupation_code", "education", "wage_per_hour", "enrolled", "marital_status"),
    *("major_industry", "major_occupation", "race", "hispanic_origin", "sex", "union_member", "unemployment_reason"),
    *("employment", "capital_gains", "capital_losses", "dividends", "tax_filer", "previous_region", "previous_state"),
    *("household_detail", "household_summary", "instance_weight", "migration_msa", "migration_region", "migration_within_region"),
    *("same_house", "migration_sunbelt", "employer_size", "parents_present", "father_country", "mother_country", "birth_country"),
    *("citizenship", "self_employed", "veteran_questionnaire", "veteran_benefits", "weeks_worked", "year", "income"),
)
CENSUS_CODES = ("industry_code", "occupation_code", "self_employed", "veteran_benefits", "year")


def bank(folder: Path) -> pd.DataFrame:
    """Calls of a bank that offered a deposit; `duration`, known only once a call is over, is left out."""
    with zipfile.ZipFile(folder / "bank_marketing" / "bank-additional.zip") as archive:
        calls = pd.read_csv(archive.open("bank-additional/bank-additional-full.csv"), sep=";", keep_default_na=False)
    return calls.drop(columns=["duration", "y"]).assign(
        offer="term-deposit",
        subscribed=(calls["y"] == "yes").astype(int),
    )


def census(folder: Path) -> pd.DataFrame:
    """People asked in 1994 and 1995, with two labels; neither they nor the survey's weight stay as inputs."""
    people = pd.read_csv(
        folder / "census_income_kdd" / "census-income.test.gz",
        names=list(CENSUS_COLUMNS),
        skipinitialspace=True,
        keep_default_na=False,
        dtype=dict.fromkeys(CENSUS_CODES, str),
    )
    return people.drop(columns=["income", "marital_status", "instance_weight"]).assign(
        offer="savings-account",
        income_above_50k=(people["income"] == "50000+.").astype(int),
        never_married=(people["marital_status"] == "Never married").astype(int),
    )


PREPARE: dict[str, Callable[[Path], pd.DataFrame]] = {"bank": bank, "census": census, "journey": journey}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models.prepare", description=__doc__.split("\n")[0])
    parser.add_argument("--data", choices=sorted(PREPARE), required=True)
    parser.add_argument("--source", type=Path, default=DATA, help="folder with the published files (default ../shared/data)")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file to write")
    given = parser.parse_args()
    table = PREPARE[given.data](given.source)
    table.to_parquet(given.out, index=False)
    print(f"{given.out}: {len(table):,} rows, {len(table.columns)} columns")


if __name__ == "__main__":
    main()
