"""The market and the release that the benchmark serves, made once and kept under .offerrank/bench."""

import hashlib
import shutil
import tempfile
import tomllib
from pathlib import Path

import pyarrow.parquet as pq

from features.market import Market, load_market
from models.release import versions
from simulation.advertisers import enlarge, to_toml
from simulation.offline import random_pages

REPOSITORY = Path(__file__).parents[1]
KEPT = REPOSITORY / ".offerrank" / "bench"
SEED = 1
PAGES = 2000
# What a release is made of besides the market: a change here makes another one.
MADE_BY = ("features", "models", "pipelines", "simulation")


def bench_market(n_offers: int) -> tuple[str, Market]:
    """The confirmation market with `n_offers` offers of an advertiser per 40, as TOML and checked."""
    raw = tomllib.loads((REPOSITORY / "examples" / "confirmation" / "market.toml").read_text(encoding="utf-8"))
    raw["policy"] |= {"id": "bench-1", "max_candidates": 100, "day_length_s": 86_400}
    for name in ("deadlines_ms", "log_candidates"):
        raw["policy"].pop(name, None)  # the defaults, which are those of production
    raw["model"]["epochs"] = 2
    any_model = {"min_auc": 0.0, "min_pcoc": 0.0, "max_pcoc": 100.0, "unjudged": "release"}
    raw["training"] |= {"gates": {t["name"]: any_model for t in raw["tasks"]}}
    toml = to_toml(enlarge(raw, "bench", n_offers, max(n_offers // 40, 4), SEED))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "market.toml"
        path.write_text(toml, encoding="utf-8")
        return toml, load_market(path)


def bench_release(n_offers: int) -> tuple[Path, Path, Market]:
    """The market file, its folder of releases and the market; trains unless the same was trained before."""
    toml, market = bench_market(n_offers)
    folder = KEPT / _key(toml)
    releases = folder / "releases"
    if not versions(releases):
        from pipelines.run_local import train

        shutil.rmtree(KEPT, ignore_errors=True)  # of older code: nobody will ask for it again
        folder.mkdir(parents=True)
        (folder / "market.toml").write_text(toml, encoding="utf-8")
        rows = folder / "rows.parquet"
        pq.write_table(random_pages(market, SEED, PAGES), rows)
        train(folder / "market.toml", rows, releases)
    return folder / "market.toml", releases, market


def _key(toml: str) -> str:
    digest = hashlib.sha256(f"{toml}|{SEED}|{PAGES}".encode())
    for package in MADE_BY:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    print(bench_release(10_000)[1])
