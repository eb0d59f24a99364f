"""How fast the watch reads, how much memory it takes, and how large what it knows becomes.

    python -m benchmarks.monitor --hours 3 --pages 100000

writes an archive of the confirmation market with three offers a page, has a watch read it to its end, and prints
decisions per second of processor time, the largest memory, the bytes of an hour, and what 13 months of such hours take.
Nothing but the archive's size differs from a real one: every row is drawn anew.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from features.log_archive import DECISIONS, EVENTS, Archived, StreamId
from features.log_schema import decision_schema, event_schema
from features.market import Market, load_market
from monitoring.summaries import ALL
from monitoring.watch.compaction import DAYS_PER_MONTH
from monitoring.watch.store import DAY, HOUR, MonitorStore
from monitoring.watch.watch import Watch
from serving.archiver.files import write_part

HOUR_MS = 3_600_000
BEGIN_MS = 480_000 * HOUR_MS
SLOTS = 3
PART_ROWS = 20_000
ROW_BYTES = 30  # of keys and SQLite's own, about


def real_time(market: Market) -> Market:
    """Of a market whose day lasts minutes, one whose day lasts a day, and whose labels are final within the hour."""
    policy = market.policy.model_copy(update={"day_length_s": 86_400})
    training = market.training.model_copy(update={"click_window_s": 600, "conversion_window_s": 600})
    return market.model_copy(update={"policy": policy, "training": training})


class Archive:
    """Writes parts of random pages, and of what came of them."""

    def __init__(self, market: Market, log_dir: Path) -> None:
        self.market, self.log_dir, self.rng = market, log_dir, np.random.default_rng(1)
        self.number, self.pages = 0, 0

    def write(self, time_ms: np.ndarray) -> None:
        n, k, rng = len(time_ms), SLOTS * len(time_ms), self.rng
        page = np.repeat(np.arange(n), SLOTS)
        offer = rng.integers(0, len(self.market.offers), k)
        ids = pa.array([f"{i:032x}" for i in range(SLOTS * self.pages, SLOTS * self.pages + k)])
        self.pages += n
        p, price = rng.beta(2, 60, k), rng.integers(100_000, 500_000, k)
        schema = decision_schema(self.market)
        item = schema.field("slots").type.value_type
        slots = {f.name: _filled(f.type, k) for f in item}
        slots |= {"position": pa.array(np.tile(np.arange(SLOTS), n), pa.int32()), "impression_id": ids}
        slots |= self._of_offers(offer) | {"price_micros": pa.array(price), "bid_micros": pa.array(2 * price)}
        slots["probability"] = self._struct({t.name: pa.array(p) for t in self.market.served_tasks})
        features = {f.name: self._feature(f, n) for f in self.market.request_features}
        lists = pa.array(np.arange(0, k + 1, SLOTS), pa.int32())
        columns = {f.name: _filled(f.type, n) for f in schema}
        columns |= {"time_ms": pa.array(time_ms), "features": self._struct(features)}
        sold = pa.StructArray.from_arrays([slots[f.name] for f in item], fields=list(item))
        columns["slots"] = pa.ListArray.from_arrays(lists, sold)
        columns |= {"total_us": pa.array(rng.integers(2_000, 9_000, n)), "release": pa.array(["7"] * n)}
        self._part(DECISIONS, pa.table(columns), time_ms)

        seen = rng.random(k) < 0.9
        clicked = seen & (rng.random(k) < p)
        rows = np.concatenate([np.flatnonzero(seen), np.flatnonzero(clicked)])
        kind = np.repeat(["impression", "click"], [seen.sum(), clicked.sum()])
        happened = time_ms[page[rows]] + np.where(kind == "click", 5_000, 500)
        columns = {f.name: _filled(f.type, len(rows)) for f in event_schema()}
        columns |= {"type": pa.array(kind), "time_ms": pa.array(happened), "impression_id": ids.take(pa.array(rows))}
        columns |= {name: self._of_offers(offer[rows])[name] for name in ("campaign_id", "advertiser", "offer_id")}
        columns |= {"status": pa.array(["logged"] * len(rows)), "charged_micros": pa.array(price[rows] * (kind == "click"))}
        self._part(EVENTS, pa.table(columns), time_ms)

    def _of_offers(self, offer: np.ndarray) -> dict[str, pa.Array]:
        offers = self.market.offers
        campaigns = [self.market.campaign_by_id[o.campaign] for o in offers]
        texts = {
            "offer_id": [o.id for o in offers],
            "campaign_id": [c.id for c in campaigns],
            "advertiser": [c.advertiser for c in campaigns],
            "bid_kind": [c.bid_kind.value for c in campaigns],
        }
        features = {f.name: [str(self.market.offer_value(o, f)) for o in offers] for f in self.market.offer_features}
        at = pa.array(offer)
        found = {name: pa.array(values).take(at) for name, values in texts.items()}
        return found | {"features": self._struct({name: pa.array(values).take(at) for name, values in features.items()})}

    def _feature(self, feature: object, n: int) -> pa.Array:
        if feature.dtype == "string":
            return pa.array(feature.vocabulary).take(pa.array(self.rng.integers(0, len(feature.vocabulary), n)))
        if feature.dtype == "float":
            return pa.array(np.round(self.rng.lognormal(4, 1, n), 2).astype(np.float32))
        return pa.array(self.rng.poisson(3, n))

    @staticmethod
    def _struct(columns: dict[str, pa.Array]) -> pa.StructArray:
        return pa.StructArray.from_arrays(list(columns.values()), names=list(columns))

    def _part(self, log: str, table: pa.Table, time_ms: np.ndarray) -> None:
        self.number += log == DECISIONS
        first, last = StreamId(int(time_ms[0]), 0), StreamId(int(time_ms[-1]), 0)
        write_part(self.log_dir, log, table, [], first, last, Archived(self.number, {0: last}, last.ms))


def _filled(kind: pa.DataType, n: int) -> pa.Array:
    """Zeros, empty texts and empty lists."""
    if pa.types.is_struct(kind):
        fields = [kind[i] for i in range(kind.num_fields)]
        return pa.StructArray.from_arrays([_filled(f.type, n) for f in fields], fields=fields)
    empty = "" if pa.types.is_string(kind) else [] if pa.types.is_list(kind) or pa.types.is_map(kind) else 0
    return pa.array([bool(empty) if pa.types.is_boolean(kind) else empty] * n, kind)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=3)
    parser.add_argument("--pages", type=int, default=100_000, help="decisions an hour")
    parser.add_argument("--market", type=Path, default=Path("examples/confirmation/market.toml"))
    arguments = parser.parse_args()
    market = real_time(load_market(arguments.market))
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(market, Path(folder))
        for hour in range(arguments.hours):
            at = BEGIN_MS + hour * HOUR_MS
            times = np.sort(archive.rng.integers(at, at + HOUR_MS, arguments.pages))
            for i in range(0, arguments.pages, PART_ROWS):
                archive.write(times[i : i + PART_ROWS])
        begun_s, wall_s = time.process_time(), time.monotonic()
        with Watch(market, archive.log_dir) as watch:
            while watch.turn():
                pass
            cpu_s, wall_s = time.process_time() - begun_s, time.monotonic() - wall_s
            sizes(watch.opened.store, market, arguments.hours)
        print(f"{archive.pages:,} decisions: {archive.pages / cpu_s:,.0f} a second of one core, {wall_s:.1f} s in all")
        print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB at most, the archive's making included")
        print(f"at 100 decisions a second: {100 * cpu_s / archive.pages * 100:.2f} % of a core")


def sizes(store: MonitorStore, market: Market, hours: int) -> None:
    """Of an hour and of a day, and what `months` of them take."""

    def mean_bytes(span: int, whole: bool) -> float:
        begins = [BEGIN_MS + i * HOUR_MS for i in range(hours - 1)] if span == HOUR else [BEGIN_MS]
        summaries = [s for at in begins for h in store.summaries(at, span) for (w, _), s in h.by.items() if (w == ALL) is whole]
        return sum(len(s.to_bytes()) + ROW_BYTES for s in summaries) / len(begins)

    whole, sliced = mean_bytes(HOUR, True), mean_bytes(HOUR, False)
    with store.writing():
        store.join_hours(BEGIN_MS, BEGIN_MS + 24 * HOUR_MS)
    day, spec = mean_bytes(DAY, False), market.monitoring
    days = spec.months * DAYS_PER_MONTH
    total = days * 24 * whole + spec.sliced_days * 24 * sliced + days * day
    print(f"an hour: {whole / 1e3:.0f} kB of all traffic, {sliced / 1e3:.0f} kB of slices; a day of slices: {day / 1e3:.0f} kB")
    print(f"{spec.months} months: {total / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
