"""How soon a gateway sells a large catalogue, what it takes to hold, how long a change of it needs: docs/catalogue.md.

    python -m benchmarks.catalogue [--offers 100000] [--json FILE]

Each start is a process of its own, on a database that was filled before: from the database, from the snapshot that this leaves,
and from the snapshot while the database is away. `cpu_s` counts the process from its first instruction, imports and all, and is
what to compare on a busy machine. A change is timed from its commit to the view that a decision would use.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARKET = Path(__file__).resolve().parents[1] / "examples" / "confirmation" / "market.toml"
CAMPAIGNS_PER = 100
"""Offers of a campaign."""
AT_ONCE = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offers", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--start", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--away", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--changes", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.start:
        print(json.dumps(_start(*asked.start, away=asked.away, changes=asked.changes)))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = _measure(Path(folder), asked.offers)
    for name, value in found.items():
        print(f"{name:34} {value:,.2f}" if isinstance(value, float) else f"{name:34} {value:,}")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")


def _measure(folder: Path, n_offers: int) -> dict[str, Any]:
    url, kept = f"sqlite:///{folder / 'catalogue.sqlite'}", str(folder / "kept")
    began = time.perf_counter()
    _fill(url, n_offers)
    found: dict[str, Any] = {"offers": n_offers, "fill_s": time.perf_counter() - began}
    found["database_mb"] = (folder / "catalogue.sqlite").stat().st_size / 2**20
    for name, arguments in (("from_database", []), ("from_snapshot", []), ("database_away", ["--away"])):
        found |= {f"{name}_{key}": value for key, value in _child(url, kept, *arguments).items()}
    return found | _child(url, kept, "--changes")


def _child(url: str, kept: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.catalogue", "--start", url, kept, *arguments]
    began = time.perf_counter()
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(said)
    return found if "--changes" in arguments else found | {"process_s": time.perf_counter() - began}


def _start(url: str, kept: str, *, away: bool, changes: bool) -> dict[str, Any]:
    """What `serving.gateway` does before it listens."""
    import serving.gateway.server  # noqa: F401  all that a gateway imports
    from catalogue.follower import Follower
    from features.market import load_market
    from retrieval.retriever import Retriever
    from serving.gateway.market_view import MarketView

    began = time.perf_counter()
    market = load_market(MARKET, listed=False)
    follower = Follower(url + ".none/none" if away else url, market, Path(kept))
    stock = follower.start()
    view = MarketView.of(stock.market, stock.version)
    retriever = Retriever.of(view.catalogue, None, view.prior_value(), market.policy.max_candidates)
    found: dict[str, Any] = {"start_s": time.perf_counter() - began}
    if changes:
        found = _changes(url, follower, view)
    assert len(retriever.popular) == len(view.offers)
    found["cpu_s"] = time.process_time()
    found["peak_mb"] = _peak_mb()
    found["held_mb"] = _resident_mb()
    return {f"changes_{k}" if changes and k.endswith(("_mb", "cpu_s")) else k: v for k, v in found.items()}


def _changes(url: str, follower: Any, view: Any) -> dict[str, Any]:
    """Seconds from a commit to a view with its sources laid out: of one campaign, one offer, and a thousand offers."""
    from catalogue.database import Database
    from catalogue.repository import Edit, Repository
    from retrieval.retriever import Retriever

    repository, market, found = Repository(Database(url), view.market), view.market, {}
    a_campaign, offers = (
        market.campaigns[0],
        [view.offers[i] for i in range(0, len(view.offers), max(len(view.offers) // 1000, 1))],
    )
    edits = {
        "campaign": [Edit("campaign", a_campaign.id, a_campaign.model_copy(update={"bid_micros": a_campaign.bid_micros + 1}))],
        "offer": [Edit("offer", offers[0].id, offers[0].model_copy(update={"title": "another"}))],
        "new_offer": [Edit("offer", "brand-new", offers[0].model_copy(update={"id": "brand-new"}))],
        "thousand_offers": [Edit("offer", o.id, o.model_copy(update={"title": "yet another"})) for o in offers],
    }
    for name, some in edits.items():
        began = time.perf_counter()
        repository.change(some, "benchmark", "", 0)
        found[f"write_{name}_s"] = time.perf_counter() - began
        began = time.perf_counter()
        stock = follower.poll()
        view = view.after(stock.market, stock.version, stock.splice)
        Retriever.of(view.catalogue, None, view.prior_value(), market.policy.max_candidates)
        found[f"follow_{name}_s"] = time.perf_counter() - began
    return found


def _fill(url: str, n_offers: int) -> None:
    import tomli

    from catalogue.database import Database
    from catalogue.repository import Edit, Repository
    from domain.campaign import Campaign, Offer
    from features.market import load_market
    from simulation.advertisers import enlarge

    made = enlarge(tomli.loads(MARKET.read_text()), "confirmation", n_offers, max(n_offers // CAMPAIGNS_PER, 1), seed=1)
    market = load_market(MARKET)
    repository = Repository(Database(url), market.model_copy(update={"name": market.name}))
    edits: Iterator[Edit] = (Edit("campaign", c["id"], Campaign.model_validate(c)) for c in made["campaigns"])
    repository.change(list(edits), "benchmark", "", 0)
    for start in range(0, n_offers, AT_ONCE):
        some = made["offers"][start : start + AT_ONCE]
        repository.change([Edit("offer", o["id"], Offer.model_validate(o)) for o in some], "benchmark", "", 0)


def _peak_mb() -> float:
    """Of this program; what `getrusage` says may be its parent's, from before it was one of its own."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def _resident_mb() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss / 2**20)


if __name__ == "__main__":
    main()
