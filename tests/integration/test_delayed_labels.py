"""From a log whose latest clicks may yet convert to a model of conversions: by waiting, by weights, and by neither."""

import shutil
from dataclasses import replace
from pathlib import Path

import log_entries
import numpy as np
import pyarrow.parquet as pq
import pytest
from growing_archive import GrowingArchive
from learned import Learned, learn

from domain.errors import ContractError
from features.market import Market, load_market
from models import release
from models.fit import Rows, fit_ranker
from models.release import Origin
from models.warm_start import save_weights
from pipelines.examples import write_training_rows
from pipelines.examples_io import files_of, write_split
from pipelines.ingest import ingest
from pipelines.training import TakeOver, load_rows, weigh_entries

NOW_MS = 2_000_000_000_000
HOUR_MS = 3_600_000
PAGES, PCVR = 6000, 0.4
NETWORK = "[model]\nhidden_units = [8]\nembedding_dim = 2\nexpert_units = 4\nlearning_rate = 0.01\nepochs = 4\n"


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages of four hours: half are clicked, 40 % of the clicks convert, at some time in the two hours after the click."""
    folder = tmp_path_factory.mktemp("delayed")
    (folder / "market.toml").write_text(log_entries.MARKET_TOML)
    growing = GrowingArchive(load_market(folder / "market.toml"), folder / "log")
    rng = np.random.default_rng(8)
    for i, at in enumerate(np.linspace(NOW_MS - 4 * HOUR_MS, NOW_MS - 1000, PAGES).astype(int).tolist()):
        clicked, converts = rng.random(2) < (0.5, PCVR)
        after = int(rng.integers(0, 2 * HOUR_MS))
        growing.shows(f"i{i}", at, at if clicked else None, at + after if clicked and converts else None)
    return growing.until(NOW_MS)


class Joined:
    """What a training of one market makes of the log.

    Args:
      learned: how features are encoded, if that is known; all pages here are alike but for what came of them.
    """

    def __init__(self, folder: Path, log_dir: Path, delayed_labels: str, learned: Learned | None = None) -> None:
        windows = f'delayed_labels = "{delayed_labels}"\nclick_window_s = 60\nconversion_window_s = 7200'
        self.folder, self.log_dir = folder, log_dir
        self.text = log_entries.MARKET_TOML.replace("click_window_s = 100\nconversion_window_s = 1000", windows) + NETWORK
        (folder / "market.toml").write_text(self.text)
        self.market: Market = load_market(folder / "market.toml")
        self.learned = learned

    def rows(self, now_ms: int, previous: Origin | None = None) -> tuple[Origin, Rows, dict[str, np.ndarray], Rows]:
        """What the release learned from, the rows of `train` and what else their columns say, and the rows of `valid`."""
        report = write_training_rows(self.market, self.log_dir, now_ms, self.folder / "rows.parquet", previous)
        splits = ingest(self.market, self.folder / "rows.parquet", self.folder / f"rows-{now_ms}", previous is not None).directory
        if self.learned is None:
            train = pq.read_table(splits / "train" / "rows.parquet").to_pylist()
            self.learned = learn(self.text, train, self.folder)
        encoding, transform = self.learned.encoding, self.learned.transform
        examples = self.folder / f"examples-{now_ms}"
        for split in ("train", "valid"):
            write_split(splits / split, examples, split)
        (train, columns), (valid, _) = (
            load_rows(self.market, encoding, transform, files_of(str(examples), split)) for split in ("train", "valid")
        )
        return Origin(rows={}, trained_through_ms=report.newest_ms, labels=report.labels), train, columns, valid


@pytest.fixture(scope="module")
def whole(log_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Joined:
    """What there is to learn of the features, for all tests: that takes longer than what they do with it."""
    joined = Joined(tmp_path_factory.mktemp("whole"), log_dir, "wait")
    joined.rows(NOW_MS)
    return joined


@pytest.mark.parametrize(("delayed_labels", "expected"), [("wait", PCVR), ("ignore", 0.75 * PCVR)])
def test_waiting_for_conversions_leaves_no_bias(
    log_dir: Path, tmp_path: Path, whole: Joined, delayed_labels: str, expected: float
) -> None:
    """Of the clicks of the last two hours half the conversions are still to come, of all clicks a quarter."""
    joined = Joined(tmp_path, log_dir, delayed_labels, whole.learned)
    _, train, _, valid = joined.rows(NOW_MS)
    assert joined.learned is not None
    ensemble, _ = fit_ranker(joined.market, joined.learned.encoding, train, valid, lambda progress: None)
    pctr, pcvr = np.asarray(ensemble.probabilities(valid.inputs)).mean(axis=0)
    assert pctr == pytest.approx(0.5, abs=0.05)
    assert pcvr == pytest.approx(expected, abs=0.04)


def test_importance_weights_leave_no_bias_in_an_hour_that_is_not_final(log_dir: Path, tmp_path: Path, whole: Joined) -> None:
    """A full training an hour ago learned the delays; the clicks since enter now, and earlier ones that have converted."""
    joined = Joined(tmp_path, log_dir, "importance", whole.learned)
    market = joined.market
    origin, train, columns, _ = joined.rows(NOW_MS - HOUR_MS)
    assert joined.learned is not None
    encoding = joined.learned.encoding
    delays = weigh_entries(market, encoding, train, columns, None)
    assert delays is not None
    assert set(train.weights["cvr"]) == {0.0, 1.0}
    former = tmp_path / "former"
    shutil.copytree(whole.folder / "transform", former / release.TRANSFORM)
    save_weights(former / release.WEIGHTS, ())
    save_weights(former / release.DELAYS, delays.networks.members)

    _, train, columns, valid = joined.rows(NOW_MS, origin)
    again = weigh_entries(market, encoding, train, columns, TakeOver(market, encoding, former))
    assert again is not None
    some = {name: x[:50] for name, x in train.inputs.items()}
    at = np.full(50, 1800.0)
    np.testing.assert_allclose(again.probabilities(some, at), delays.probabilities(some, at), rtol=1e-5)

    weights, converted = train.weights["cvr"], train.labels["conversion"]
    clicks = weights > 0
    # Of 750 clicks in the hour 75 have converted by its end, and of earlier ones 225: 300 in 975.
    assert converted[clicks].mean() == pytest.approx(300 / 975, abs=0.04)
    assert np.average(converted[clicks], weights=weights[clicks]) == pytest.approx(PCVR, abs=0.05)
    assert np.all(columns["conversion_entry_ms"][clicks] >= 0)
    # Judged by what has become final since, which does not enter again.
    final = (valid.weights["cvr"] > 0) & (valid.labels["click"] == 1)
    assert valid.labels["conversion"][final].mean() == pytest.approx(PCVR, abs=0.15)

    other = market.model_copy(update={"model": market.model.model_copy(update={"hidden_units": (9,)})})
    with pytest.raises(ContractError, match=r"delay_weights.npz: no longer fits \[model\]: train in full"):
        weigh_entries(other, encoding, replace(train), columns, TakeOver(other, encoding, former))
