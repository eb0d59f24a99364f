"""`offerrank retrain` twice on one log: in full, then from the first release on what became final since, a new country among it.

Clicks are final after 10 s, conversions after 40 s, and each time the log ends a minute after it began. A third time, in full on
what the second release has learned and then on what is new to it, the market asks for more than a model can give.
"""

import json
import os
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from domain.clock import now_ms
from features.log_archive import StreamId
from features.market import Market, load_market
from models import release
from models.evaluation import EvaluationReport
from models.progress import Histories
from models.release import FinalLabels, Manifest, Release
from models.turns import read_turns
from monitoring.learning_beat import LearningBeat
from offerrank.cli import app
from pipelines.freshness import release_to_continue
from serving.archiver.files import write_part
from simulation.offline import random_pages
from store.runs import recent_runs
from tests.conftest import REPOSITORY

SIMULATED = REPOSITORY / "examples" / "confirmation" / "market.toml"
LISTED, LEARNED = 'vocabulary = ["US", "GB", "DE", "FR", "NL"]', "vocabulary = 50"
KNOWN, NEW = ("US", "GB", "DE", "FR", "NL"), "AT"
HOUR_MS = 3_600_000
pytestmark = pytest.mark.timeout(1800)  # three trainings come before the first test


@dataclass(frozen=True)
class Retrained:
    """Two releases and what was said about them."""

    market: Market
    releases: tuple[Release, Release]
    results: tuple[dict[str, Any], dict[str, Any]]
    said: tuple[str, str]
    times: tuple[np.ndarray, np.ndarray]
    """[R] ms of the decisions that were logged before each."""
    clicked: tuple[np.ndarray, np.ndarray]
    """[R], 0 or 1."""
    refused: "subprocess.CompletedProcess[str]"
    """The third time."""
    began_ms: int
    """When that was."""


def write_log(log_dir: Path, market: Market, rows: pa.Table, from_ms: int) -> np.ndarray:
    """A decision of one slot for each row, an event for what came of it, all within a minute; returns their times [R]."""
    n = len(rows)
    ids, times = [f"{from_ms}-{i}" for i in range(n)], from_ms + 60_000 * np.arange(n) // n
    slots = pa.StructArray.from_arrays(
        [pa.array(ids), pa.array(np.zeros(n, np.int32)), pa.array(np.full(n, 0.5)), struct(rows, market.offer_features)],
        names=["impression_id", "position", "propensity", "features"],
    )
    decisions = {
        "decision_id": pa.array(ids),
        "time_ms": pa.array(times),
        "features": struct(rows, market.request_features),
        "slots": pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32)), slots),
    }
    events = [("impression", np.ones(n, bool))] + [(label, rows[label].to_numpy() == 1) for label in ("click", "conversion")]
    # An order is worth what the purchase before it was, more or less, and every tenth is sent back.
    worth = np.maximum(np.rint(1e6 * rows["amount"].to_numpy() * np.random.default_rng(n).lognormal(-0.02, 0.2, n)), 0)
    micros = {"conversion": worth.astype(np.int64)}
    events.append(("return", (rows["conversion"].to_numpy() == 1) & (np.arange(n) % 10 == 0)))
    happened = pa.concat_tables(
        pa.table(
            {
                "type": [kind] * int(mask.sum()),
                "impression_id": np.array(ids)[mask],
                "time_ms": times[mask],
                "value_micros": pa.array(micros[kind][mask] if kind in micros else [None] * int(mask.sum()), pa.int64()),
            }
        )
        for kind, mask in events
    )
    first, last = StreamId(from_ms, 0), StreamId(from_ms + 60_000, 0)
    write_part(log_dir, "decisions", pa.table(decisions), [], first, last)
    write_part(log_dir, "events", happened, [], first, last)
    return times


def struct(rows: pa.Table, features: Any) -> pa.StructArray:
    return pa.StructArray.from_arrays([rows[f.name].combine_chunks() for f in features], names=[f.name for f in features])


def with_new_country(rows: pa.Table) -> pa.Table:
    """Every fourth row comes from a country that nobody has seen."""
    country = pc.if_else(pa.array(np.arange(len(rows)) % 4 == 0), NEW, rows["country"].combine_chunks())
    return rows.set_column(rows.schema.get_field_index("country"), "country", country)


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Retrained:
    folder = tmp_path_factory.mktemp("retraining")
    path, log_dir, out = folder / "market.toml", folder / "log", folder / "releases"
    path.write_text(SIMULATED.read_text(encoding="utf-8").replace(LISTED, LEARNED) + "\n[value]\n", encoding="utf-8")
    market, simulated = load_market(path), load_market(SIMULATED)
    start_ms = now_ms() - 5 * HOUR_MS
    command = [sys.executable, "-m", "offerrank", "retrain", "--market", str(path), "--log", str(log_dir), "--out", str(out)]

    def turn(rows: pa.Table, from_ms: int) -> tuple[Release, dict[str, Any], str, np.ndarray, np.ndarray]:
        times = write_log(log_dir, market, rows, from_ms)
        run = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=560)
        assert run.returncode == 0, run.stderr[-5000:]
        result = json.loads(run.stdout)
        return release.load_release(Path(result["release"])), result, run.stderr, times, rows["click"].to_numpy()

    pages = random_pages(simulated, 1, 4600)  # of one world: what the first release learns of it holds for the others
    full = turn(pages.slice(0, 9000), start_ms)
    incremental = turn(with_new_country(pages.slice(9000, 3000)), start_ms + HOUR_MS)
    releases, results, said, times, clicked = zip(full, incremental, strict=True)
    harder = path.read_text(encoding="utf-8").replace("min_auc = 0.53", "min_auc = 0.999")
    path.write_text(re.sub("\nepochs = 20", "\nepochs = 2", harder), encoding="utf-8")
    write_log(log_dir, market, pages.slice(12_000), start_ms + 2 * HOUR_MS)
    (tmp := folder / "tmp").mkdir()
    environment, began_ms = os.environ | {"TMPDIR": str(tmp)}, now_ms()
    refused = subprocess.run([*command, "--full-every", "0s"], capture_output=True, text=True, timeout=560, env=environment)
    return Retrained(market, releases, results, said, times, clicked, refused, began_ms)


@pytest.fixture(scope="module")
def manifests(retrained: Retrained) -> tuple[Manifest, Manifest]:
    return retrained.releases[0].manifest, retrained.releases[1].manifest


def test_each_run_says_what_it_starts_from(retrained: Retrained) -> None:
    assert "full training: there is no release yet" in retrained.said[0]
    assert f"incremental training: release {retrained.releases[0].version} goes on" in retrained.said[1]


def test_the_manifest_says_through_when_and_from_what(retrained: Retrained, manifests: tuple[Manifest, Manifest]) -> None:
    full, incremental = manifests
    for made, times in zip(manifests, retrained.times, strict=True):
        ends_ms = int(times[0]) + 60_000
        assert made.labels == FinalLabels(as_of_ms=ends_ms, click_window_s=10, conversion_window_s=30)
        assert made.trained_through_ms == times[times <= ends_ms - 10_000][-1]
    assert (full.warm_from, full.full_ms) == (None, None)
    assert (incremental.warm_from, incremental.full_ms) == (full.version, full.created_ms)


def test_a_run_learns_from_the_labels_that_have_become_final(retrained: Retrained, manifests: tuple[Manifest, Manifest]) -> None:
    # The first log is 9,000 rows in 60 s: 50/60 have final clicks and 20/60 final conversions. An hour later all have, and of
    # 3,000 more the same shares.
    assert [int((t <= t[0] + s).sum()) for t in retrained.times for s in (50_000, 20_000)] == [7501, 3001, 2501, 1001]
    assert [sum(made.rows.values()) for made in manifests] == [7501, 9000 - 3001 + 2501]
    used = [
        EvaluationReport.model_validate_json((made.path / release.EVALUATION).read_bytes()).data.splits.values()
        for made in retrained.releases
    ]
    assert [sum(split.tasks["ctr"].rows for split in splits) for splits in used] == [7501, 9000 - 7501 + 2501]
    # Each click counts once for its conversion, though the log was read twice.
    counted = [sum(split.tasks["cvr"].rows for split in splits) for splits in used]
    first, second = retrained.clicked
    assert counted == [first[:3001].sum(), first[3001:].sum() + second[:1001].sum()]
    assert "7,501 impressions" in retrained.said[0]
    assert "8,500 impressions" in retrained.said[1]


def test_what_is_judged_is_final(retrained: Retrained) -> None:
    for made, result in zip(retrained.releases, retrained.results, strict=True):
        rows = pq.read_table(made.path / release.EVAL_PREDICTIONS)
        final = rows.filter(pc.equal(rows["conversion_usable"], 1))
        assert 0 < len(final) < len(rows)
        assert result["metrics"]["cvr"]["rows"] == pc.sum(final["click"]).as_py() == pc.sum(rows["cvr_counts"]).as_py()
        assert result["metrics"]["cvr"]["positives"] == pc.sum(final["conversion"]).as_py()


def test_all_weights_are_taken_over_and_the_new_country_is_an_entry(retrained: Retrained) -> None:
    first, second = (result["warm_start"] for result in retrained.results)
    assert first is None
    assert second["fresh"] == []
    assert second["new_entries"] == {"country": 1}
    # The embedding tables of the ranker, the towers and the values among them.
    assert sum("embeddings" in name for name in second["taken"]) == 6


def test_each_run_learns_what_conversions_are_worth_and_says_how_well(retrained: Retrained) -> None:
    for made, result in zip(retrained.releases, retrained.results, strict=True):
        rows = pq.read_table(made.path / release.EVAL_PREDICTIONS)
        micros = rows["conversion_value_micros"].to_numpy()
        sold = (rows["cvr_counts"].to_numpy() == 1) & (rows["conversion"].to_numpy() == 1)
        np.testing.assert_array_equal(micros >= 0, sold)
        assert 0 < (micros == 0).sum() < sold.sum()  # orders that were sent back
        value = evaluation_of(made.path / release.EVALUATION).value
        assert value is not None
        assert result["value"] == json.loads(value.model_dump_json())
        assert (value.rows, value.unknown) == (sold.sum(), 0)
        assert value.observed_micros == pytest.approx(micros[sold].mean())
        assert value.pcoc is not None
        assert value.interval is not None
        assert value.interval.low < value.pcoc < value.interval.high
        # Of a new release what it said of each row before it learned from it, else what it says.
        said = rows["judged.conversion_value_micros" if made.manifest.progressive else "raw.conversion_value_micros"].to_numpy()
        assert value.predicted_micros == pytest.approx(said[sold].mean(), rel=1e-5)
        assert value.entire_pcoc is not None
        few = value.rows < 100  # whose values differ as much as they are large
        for pcoc in (value.pcoc, value.entire_pcoc):
            assert 0.2 < pcoc < 5 if few else 0.5 < pcoc < 2
        assert few or (value.explained is not None and value.explained > 0.2)
        assert "a value-PCOC of" in (made.path / release.REPORT).read_text(encoding="utf-8")


def test_an_incremental_run_passes_the_gates_of_any_other(retrained: Retrained) -> None:
    full, incremental = ({gate["key"]: gate["verdict"] for gate in result["gates"]} for result in retrained.results)
    # Only the second run has a release to be compared with.
    assert incremental.keys() >= full.keys()
    assert "failed" not in incremental.values()


def test_a_row_is_not_seen_by_the_release_before_until_its_label_is_final(retrained: Retrained) -> None:
    """All rows of an incremental run are news to the release that it goes on from, though it knows some of their clicks."""
    evaluation = evaluation_of(retrained.releases[1].path / release.EVALUATION)
    assert evaluation.in_service is not None
    for task, rival in evaluation.in_service.tasks.items():
        assert (rival.rows, rival.seen) == (evaluation.tasks[task].rows, 0)


def test_a_refused_full_training_is_an_exit_code_and_a_note_and_incremental_ones_go_on(retrained: Retrained) -> None:
    assert retrained.refused.returncode == 3, retrained.refused.stderr
    first, incremental = retrained.releases
    releases = first.path.parent
    assert release.versions(releases) == [first.version, incremental.version]
    noted = read_turns(releases)
    assert (noted.full.refused, noted.full.failed, noted.full.at_work) == (1, 0, False)
    assert "AUC of ctr is 0." in noted.full.why
    assert (noted.incremental.refused, noted.incremental.failed) == (0, 0)
    full_ms = noted.full.began_ms
    assert full_ms is not None
    # The monitor is told when the last release was, and why there was none since.
    beat = LearningBeat.read(releases)
    assert beat is not None
    assert "AUC of ctr is 0." in beat.why
    assert incremental.manifest.created_ms <= beat.learned_ms < full_ms
    # A day after the first full training; the refused one was then half a day ago, and takes its place.
    day_s = 86_400
    assert full_ms >= retrained.began_ms
    later_ms = first.manifest.created_ms + 86_400_000
    half_a_day_before_ms = later_ms - 43_200_000
    found, why = release_to_continue(retrained.market, releases, later_ms, day_s, half_a_day_before_ms)
    assert found is not None
    assert found.version == incremental.version
    assert why.endswith("; the full training 12.0 h ago brought no release")
    assert release_to_continue(retrained.market, releases, later_ms, day_s)[0] is None


def test_a_full_training_is_judged_on_what_is_new_to_the_release_in_service_and_on_nothing_else(retrained: Retrained) -> None:
    (page,) = re.findall(r"report: (\S+)", " ".join(retrained.refused.stderr.split()))
    said = " ".join(re.sub(r"<[^>]*>", " ", Path(page).read_text(encoding="utf-8")).split())
    version = retrained.releases[1].version
    assert f"Rows of eval are new to release {version}, which was in service, and to this model" in said
    # Of 1,800 more rows 50/60 have final clicks; and of the 3,000 before all that were not final then, the conversions of 2/3.
    (judged,) = re.findall("eval judge: all below; then learn, and calibrate ([0-9,]+)", said)
    assert judged == f"{1501 + 3000 - 1001:,}"
    assert re.search(rf"(passed|failed) relative increase in log loss of ctr over release {version} ", said)
    assert "has learned from all" not in said
    assert re.search("failed AUC of ctr 0.", said)
    assert f"impressions that release {version} has learned from, before them" in retrained.refused.stderr


def evaluation_of(path: Path) -> EvaluationReport:
    return EvaluationReport.model_validate_json(path.read_bytes())


def test_an_incremental_run_costs_no_transform(retrained: Retrained) -> None:
    assert "Transform" in retrained.results[0]["seconds"]
    assert "Transform" not in retrained.results[1]["seconds"]


def test_every_new_row_is_judged_and_then_learned_from(retrained: Retrained) -> None:
    full, incremental = retrained.releases
    assert (full.manifest.progressive, incremental.manifest.progressive) == (False, True)
    assert incremental.manifest.rows == {"train": 0, "valid": 0, "eval": 9000 - 3001 + 2501}
    judged = pq.read_table(incremental.path / release.EVAL_PREDICTIONS)
    assert len(set(judged["log.row"].to_pylist())) == len(judged) == 9000 - 3001 + 2501
    history = Histories.model_validate_json((incremental.path / release.HISTORY).read_bytes())
    assert [len(fit.epochs) for fit in history.fits] == [1]
    assert history.recall is not None
    assert None not in (history.recall.before, history.recall.judged, history.recall.after)
    assert history.recall.clicks == pc.sum(pc.and_(pc.equal(judged["click_usable"], 1), pc.equal(judged["click"], 1))).as_py()


def test_the_first_batch_is_judged_by_the_release_it_goes_on_from_and_the_last_by_what_it_has_learned(
    retrained: Retrained,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own imports
        from pipelines.calibration import where_shown
        from pipelines.recalibration import raw_tensors
        from pipelines.scoring import load_ranker, score
    market, (full, incremental) = retrained.market, retrained.releases
    rows = pq.read_table(incremental.path / release.EVAL_PREDICTIONS).sort_by(
        [("time_ms", "ascending"), ("log.row", "ascending")]
    )
    columns = {name: rows[name].to_numpy() for name in ("click", "conversion", "position")} | raw_tensors(market, rows)
    before, after = (
        where_shown(market, columns | score(market, load_ranker(str(made.path)), columns))["raw.ctr"]
        for made in (full, incremental)
    )
    judged, size = rows["judged.ctr"].to_numpy(), market.model.batch_size
    np.testing.assert_allclose(judged[:size], before[:size], atol=1e-5)
    assert np.abs(judged[size:] - before[size:]).max() > 1e-3
    assert np.abs(judged - after).max() > 1e-3


def test_the_optimizer_goes_on_where_it_was(retrained: Retrained) -> None:
    full, incremental = (dict(np.load(made.path / release.WEIGHTS)) for made in retrained.releases)
    # Each row decided at a time of its own is a page of its own, so that all batches but the last are full.
    batches = -(-(9000 - 3001 + 2501) // retrained.market.model.batch_size)
    assert incremental["optimizer/:ranker_0"] - full["optimizer/:ranker_0"] <= batches
    assert incremental["optimizer/:ranker_0"] - full["optimizer/:ranker_0"] >= batches - 2
    table = "optimizer/ranker_0/_embeddings.offer._table.embeddings:v"
    assert np.abs(full[table]).max() > 0
    assert np.abs(incremental[table]).max() > 0


def lineage_of(retrained: Retrained, what: str) -> dict[str, Any]:
    releases = retrained.releases[0].path.parent
    options = ["--releases", str(releases), "--log", str(releases.parent / "log"), "--json"]
    done = CliRunner().invoke(app, ["lineage", what, *options])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.output)
    return found


def test_every_turn_is_recorded_with_the_rows_it_joined(retrained: Retrained) -> None:
    full, incremental = (one.version for one in retrained.releases)
    runs = recent_runs(retrained.releases[0].path.parent)
    assert [(run.kind, run.outcome, run.release, run.previous) for run in runs] == [
        ("full", "refused", None, None),
        ("incremental", "released", incremental, full),
        ("full", "released", full, None),
    ]
    for run, result in zip(reversed(runs[1:]), retrained.results, strict=True):
        steps = {step.name: step for step in run.steps}
        assert steps["join"].rows_out == steps["read"].rows_out == sum(result["rows"].values())
        assert run.details["rows"] == result["rows"]


def test_the_lineage_of_a_release_names_data_decisions_run_and_components(retrained: Retrained) -> None:
    full, incremental = retrained.releases
    told = lineage_of(retrained, str(incremental.version))
    assert [one["release"] for one in told["goes_back_to"]] == [full.version]
    # Its own hour, and what became final since of the end of the hour before.
    first, second = retrained.times
    assert full.manifest.labels is not None
    late = int((first > full.manifest.labels.as_of_ms - 40_000).sum())
    assert told["decisions"]["decisions"] == late + int((second <= told["learned"]["click"]["through_ms"]).sum())
    assert told["metadata"]["run"] == told["run"]["id"]
    assert told["metadata"]["kept"] is False
    components = {one["name"]: one["state"] for one in told["metadata"]["components"]}
    assert components["Trainer"] == components["Pusher"] == "complete"
    assert {gate["verdict"] for gate in told["gates"]} <= {"passed", "skipped"}


def test_the_lineage_of_a_decision_names_the_releases_that_learned_from_it(retrained: Retrained) -> None:
    full, incremental = (one.version for one in retrained.releases)
    first = lineage_of(retrained, f"{retrained.times[0][0]}-0")["taught"]
    assert [(one["release"], one["labels"]) for one in first] == [(v, ["click", "conversion"]) for v in (full, incremental)]
    second = lineage_of(retrained, f"{retrained.times[1][0]}-0")["taught"]
    assert {one["release"]: one["labels"] for one in second} == {full: [], incremental: ["click", "conversion"]}


def test_tfdv_names_the_country_that_a_release_was_not_trained_on(retrained: Retrained, tmp_path: Path) -> None:
    full = retrained.releases[0]
    since, until = (datetime.fromtimestamp(t / 1000, UTC).isoformat() for t in retrained.times[1][[0, -1]])
    asked = ["--release", str(full.path), "--log", str(full.path.parents[1] / "log"), "--since", since, "--until", until]
    command = [sys.executable, "-m", "offerrank", "tfdv", *asked, "--json", "--html", str(tmp_path / "tfdv.html")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 1, run.stderr[-5000:]
    said = json.loads(run.stdout)
    assert (said["release"], said["rows"], said["before_rows"]) == (full.version, 3000, 0)
    (country,) = (a for a in said["anomalies"] if a["feature"] == "country")
    assert country["kind"] == "skew"
    assert "training and serving is 0.25 (up to six significant digits), above the threshold 0.1" in country["description"]
    assert country["description"].endswith(f"maximum difference is: {NEW}")
    assert said["training_rows"] == full.manifest.rows["train"]
    assert "TFDV speaks of " in (tmp_path / "tfdv.html").read_text()


def test_known_countries_and_all_numbers_mean_what_they_meant(retrained: Retrained) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own imports
        import tensorflow_transform as tft

        from models.legacy_keras import tf

        def transformed(made: Release) -> dict[str, Any]:
            layer = tft.TFTransformOutput(str(made.path / release.TRANSFORM)).transform_features_layer()
            raw = {
                f.name: tf.constant([f.fill] * 7, {"string": tf.string, "int": tf.int64}.get(f.dtype, tf.float32))
                for f in features
            }
            raw |= {"country": tf.constant([*KNOWN, NEW, "never seen"]), "amount": tf.constant([0.5, 5, 20, 50, 90, 200, 5000.0])}
            return {name: column.numpy() for name, column in layer(raw).items()}

        features = retrained.market.features
        before, after = map(transformed, retrained.releases)
    assert sorted(before["country:id"][:5]) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(before["country:id"][5:], [5, 5])
    np.testing.assert_array_equal(after["country:id"], [*before["country:id"][:5], 5, 6])
    for name in before.keys() - {"country:id"}:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


def test_carried_rows_equal_those_of_the_release_before(retrained: Retrained) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_transform as tft

        from models.preprocessing import encoding_of
        from models.ranker import Ranker
        from models.warm_start import load_weights
        from pipelines.training import TakeOver

        market, (full, incremental) = retrained.market, retrained.releases
        encoding = encoding_of(market, tft.TFTransformOutput(str(incremental.path / release.TRANSFORM)))
        ranker = Ranker(encoding, market.tasks, market.model, np.array([0.1, 0.1]), name="ranker_0")
        ranker(
            {
                f"{name}_{kind}": np.zeros((1, len(columns)), dtype)
                for name, group in encoding.groups.items()
                for kind, columns, dtype in (("ids", group.ids, np.int32), ("numbers", group.numbers, np.float32))
            }
        )
        start = TakeOver(market, encoding, full.path)
        start(ranker)
    path = "ranker_0/_embeddings.request._table.embeddings"
    was, now = load_weights(full.path / release.WEIGHTS)[path], ranker.get_weight_paths()[path.partition("/")[2]].numpy()
    assert encoding.request.ids[0] == ("country:id", 7)
    np.testing.assert_array_equal(now[:5], was[:5])
    np.testing.assert_array_equal(now[5:7], was[[5, 5]])
    np.testing.assert_array_equal(now[7:], was[6:])
    assert start.report.new_entries == {"country": 1}
