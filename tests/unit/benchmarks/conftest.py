import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.models.datasets import Fold, SealedLabels, divide
from benchmarks.models.prepare import bank

CALLS = 600


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like that of the published files, with made-up calls of a bank: younger people buy, whatever else holds."""
    folder = tmp_path_factory.mktemp("published")
    rng = np.random.default_rng(3)
    age = rng.integers(18, 90, CALLS)
    calls = pd.DataFrame({"age": age, "job": rng.choice(["student", "retired"], CALLS)})
    for name in ("marital", "education", "default", "housing", "loan", "contact", "month", "day_of_week", "poutcome"):
        calls[name] = rng.choice(["a", "b"], CALLS)
    calls["duration"] = rng.integers(0, 500, CALLS)
    for name in ("campaign", "pdays", "previous"):
        calls[name] = rng.integers(0, 5, CALLS)
    calls["euribor3m"] = np.arange(CALLS) / 1000  # tells the rows apart
    for name in ("emp.var.rate", "cons.price.idx", "cons.conf.idx", "nr.employed"):
        calls[name] = rng.standard_normal(CALLS)
    calls["y"] = np.where(age + rng.normal(0, 5, CALLS) < 45, "yes", "no")
    (folder / "bank_marketing").mkdir()
    with zipfile.ZipFile(folder / "bank_marketing" / "bank-additional.zip", "w") as archive:
        archive.writestr("bank-additional/bank-additional-full.csv", calls.to_csv(index=False, sep=";"))
    return folder


@pytest.fixture(scope="session")
def bank_rows(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = tmp_path_factory.mktemp("prepared") / "bank.parquet"
    bank(published).to_parquet(rows, index=False)
    return rows


@pytest.fixture(scope="session")
def bank_fold(bank_rows: Path) -> tuple[Fold, SealedLabels]:
    return divide("bank", bank_rows, seed=1)
