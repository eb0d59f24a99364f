"""The pipeline as an orchestrator gets it: compiled for Kubeflow, loaded as DAGs by Airflow in an environment of its own."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from domain.errors import ContractError, OfferRankError
from features.market import load_market
from offerrank.cli import app
from pipelines.workplace import Workplace

REPOSITORY = Path(__file__).parents[2]
MARKET = REPOSITORY / "examples" / "confirmation" / "market.toml"
AIRFLOW_PYTHON = REPOSITORY / ".venv-airflow" / "bin" / "python"
TASKS = {
    *("IngestLog", "ExampleGen", "StatisticsGen", "ImportSchemaGen", "ExampleValidator", "AnomalyCheck", "Transform"),
    *("Trainer", "Calibrator", "Assessor", "Release", "ServingCheck", "Pusher"),
}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that wants TFX's Evaluator, too."""
    path = tmp_path_factory.mktemp("market") / "market.toml"
    path.write_text(MARKET.read_text().replace("[training]\n", "[training]\ntfma = true\n"))
    return path


@pytest.fixture(scope="module")
def job(market: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `offerrank pipeline compile` writes."""
    out = tmp_path_factory.mktemp("kubeflow") / "job.yaml"
    command = ["pipeline", "compile", "--market", str(market), "--to", "kubeflow", "--out", str(out), "--log", "/mnt/log"]
    command += ["--work-dir", "/mnt/work", "--releases", "/mnt/releases", "--image", "registry.example/offerrank:1"]
    command += ["--infra-validator", "kubernetes", "--beam-runner", "spark", "--beam-arg=--spark_master_url=spark://spark:7077"]
    subprocess.run([sys.executable, "-m", "offerrank", *command], check=True, capture_output=True, timeout=120)
    compiled: dict[str, Any] = yaml.safe_load(out.read_text())
    return compiled


def tasks_of(job: dict[str, Any]) -> dict[str, Any]:
    tasks: dict[str, Any] = job["root"]["dag"]["tasks"]
    return tasks


def parameters(task: dict[str, Any]) -> dict[str, Any]:
    return {name: value["runtimeValue"]["constant"] for name, value in task["inputs"]["parameters"].items()}


def test_the_job_has_every_component_after_the_log_is_ingested(job: dict[str, Any]) -> None:
    tasks = tasks_of(job)
    assert tasks.keys() == TASKS | {"TfExamples", "Evaluator", "InfraValidator"}
    assert "dependentTasks" not in tasks["IngestLog"]
    for task in ("ExampleGen", "ImportSchemaGen", "TfExamples"):
        assert tasks[task]["dependentTasks"] == ["IngestLog"]
    assert {"Evaluator", "ServingCheck", "InfraValidator"} <= set(tasks["Pusher"]["dependentTasks"])


def test_the_release_is_loaded_by_the_image_that_serves_it_and_asked_for_rows(job: dict[str, Any]) -> None:
    given = parameters(tasks_of(job)["InfraValidator"])
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    image, tag = compose["services"]["model-server"]["image"].split(":")
    assert image == "tensorflow/serving"
    serving = json.loads(given["serving_spec"])
    assert serving == {"tensorflow_serving": {"tags": [tag]}, "kubernetes": {}, "model_name": "ranker"}
    asked = json.loads(given["request_spec"])
    assert asked == {"tensorflow_serving": {"signature_names": ["examples"]}, "split_name": "eval", "num_examples": 64}


@pytest.mark.parametrize("engine", [None, "docker"])
def test_a_training_here_has_it_only_where_the_market_asks_for_it(engine: str | None, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TFX's own imports
        from tfx.dsl.compiler.compiler import Compiler

        from pipelines.ranking import ranking_pipeline
    market = load_market(MARKET)
    market = market.model_copy(update={"training": market.training.model_copy(update={"infra_validator": engine})})
    pipeline = ranking_pipeline(market, Workplace(tmp_path), tmp_path / "releases", rows=None)
    nodes = {node.pipeline_node.node_info.id: node.pipeline_node for node in Compiler().compile(pipeline).nodes}
    assert nodes.keys() == TASKS - {"IngestLog"} | ({"TfExamples", "InfraValidator"} if engine else set())
    before = {"Release", "ServingCheck"} | ({"InfraValidator"} if engine else set())
    assert set(nodes["Pusher"].upstream_nodes) == before
    if engine:
        spec = nodes["InfraValidator"].parameters.parameters["serving_spec"].field_value.string_value
        assert json.loads(spec)["local_docker"] == {}


def test_tfma_slices_by_features_and_pairs_of_them() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TFX's own imports
        from pipelines.ranking import eval_config
    market = load_market(MARKET)
    slices = ("device", "campaign", "device x category", "device x placement")
    market = market.model_copy(update={"training": market.training.model_copy(update={"slices": slices})})
    config = eval_config(market, None)
    assert [list(spec.feature_keys) for spec in config.slicing_specs] == [[], ["device"], ["device", "category"]]


def test_a_release_that_the_image_did_not_load_is_an_error_that_says_so() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TFX's own imports
        from tfx.types.standard_artifacts import InfraBlessing

        from pipelines.components.infra_validator import require_blessed
    blessing = InfraBlessing()
    blessing.set_int_custom_property("blessed", 1)
    require_blessed(blessing)
    blessing.set_int_custom_property("blessed", 0)
    with pytest.raises(ContractError, match=r"^InfraValidator: tensorflow/serving:\S+ did not load the release, or did not"):
        require_blessed(blessing)


def test_components_find_what_ingestion_lays_out(job: dict[str, Any], market: Path) -> None:
    tasks = tasks_of(job)
    folders = {"log_dir": "/mnt/log", "work": "/mnt/work", "releases": "/mnt/releases"}
    assert parameters(tasks["IngestLog"]) == {"market_file": str(market)} | folders
    text = json.dumps(job)
    for path in ("/mnt/work/rows", "/mnt/work/market.toml", "/mnt/work/schema.pbtxt", "/mnt/work/origin.json", "/mnt/releases"):
        assert path in text


def test_every_container_is_the_image_and_beams_runner_is_passed_on(job: dict[str, Any]) -> None:
    containers = {name: e["container"] for name, e in job["deploymentSpec"]["executors"].items() if "container" in e}
    assert {c["image"] for c in containers.values()} == {"registry.example/offerrank:1"}
    (statistics,) = [c["args"] for name, c in containers.items() if name.startswith("StatisticsGen")]
    assert {"--runner=SparkRunner", "--spark_master_url=spark://spark:7077"} <= set(statistics)


def test_a_pipeline_has_no_addresses_for_folders() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TFX's own imports
        from pipelines.orchestration import log_pipeline
    with pytest.raises(OfferRankError, match="s3://shop/log: expected a path of this machine"):
        log_pipeline(MARKET, Path("s3://shop/log"), Path("/mnt/releases"), Path("/mnt/work"))


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Airflow has no environment in common with TFX 1.21")
def test_airflow_loads_a_dag_for_the_full_training_and_one_for_the_incremental(tmp_path: Path) -> None:
    assert AIRFLOW_PYTHON.exists(), "`make airflow` builds it"
    (tmp_path / "dags").mkdir()
    shutil.copy(REPOSITORY / "pipelines" / "airflow_dag.py", tmp_path / "dags")
    show = (
        "import sys, json\n"
        "from airflow.models import DagBag\n"
        "bag = DagBag(sys.argv[1], include_examples=False)\n"
        "tasks = {name: [t.task_id for t in dag.topological_sort()] for name, dag in bag.dags.items()}\n"
        "print(json.dumps([bag.import_errors, tasks]))\n"
    )
    market = tmp_path / "market.toml"
    market.write_text(MARKET.read_text().replace("[training]\n", '[training]\ninfra_validator = "kubernetes"\n'))
    paths = {"MARKET": str(market), "LOG_DIR": "/mnt/log", "RELEASES": "/mnt/releases", "WORK_DIR": "/mnt/work"}
    environment = os.environ | {f"OFFERRANK_{name}": path for name, path in paths.items()}
    environment |= {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False"}
    environment |= {"AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300"}  # of the usual 30 s TFX takes most
    command = [str(AIRFLOW_PYTHON), "-c", show, str(tmp_path / "dags")]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=560)
    assert run.returncode == 0, run.stderr[-3000:]
    errors, tasks = json.loads(run.stdout.splitlines()[-1])
    assert errors == {}
    assert tasks["confirmation-incremental"] == ["retrain"]
    assert (tasks["confirmation"][0], tasks["confirmation"][-1]) == ("IngestLog", "Pusher")
    assert sorted(tasks["confirmation"]) == sorted(TASKS | {"TfExamples", "InfraValidator"})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "cron", "--out", "job.yaml"], "expected kubeflow, got 'cron'"),
        (["--out", "job.yaml", "--infra-validator", "podman"], "expected docker or kubernetes, got 'podman'"),
        (["--out", "job.yaml", "--releases", "gs://releases"], "gs://releases: expected a path of this machine"),
        (["--out", "job.txt"], "expected a file that ends in .json, .yaml or .yml, got 'job.txt'"),
        (["--out", "job.yaml", "--beam-runner", "storm"], "expected one of direct, flink, spark, dataflow, got 'storm'"),
    ],
)
def test_what_cannot_be_compiled_is_refused(arguments: list[str], said: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Beam's own imports
        result = CliRunner().invoke(app, ["pipeline", "compile", "--market", str(MARKET), *arguments], terminal_width=400)
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())
