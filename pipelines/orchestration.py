"""The training pipeline for an orchestrator: a full training on the log, which its first component joins and checks.

All paths are on storage that every worker mounts at the same place.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from tfx.orchestration.pipeline import Pipeline

from domain.errors import OfferRankError
from domain.local_paths import require_local
from features.market import load_market
from pipelines.components.ingest_log import IngestLog
from pipelines.metadata_address import VARIABLE, metadata_address
from pipelines.ranking import IN_PROCESS, ranking_pipeline
from pipelines.workplace import Workplace


def log_pipeline(
    market_file: Path,
    log_dir: Path,
    out: Path,
    work: Path,
    beam_args: Sequence[str] = (),
    infra_validator: Literal["docker", "kubernetes"] | None = None,
) -> Pipeline:
    """From the archive to a pushed release.

    Args:
      work: a folder for one run at a time.
      infra_validator: in place of the market's `training.infra_validator`.

    Raises:
      InvalidMarket: the market cannot be used.
      OfferRankError: a path is an address.
    """
    for path in (market_file, log_dir, out, work):
        require_local(path)
    # Its tasks are processes of their own on one store: that of the setting, or a file in the folder that they share.
    url = os.environ.get(VARIABLE)
    metadata = metadata_address(url, out).config if url else None
    first = IngestLog(market_file=str(market_file), log_dir=str(log_dir), work=str(work), releases=str(out))
    market = load_market(market_file)
    if infra_validator is not None:
        training = market.training.model_copy(update={"infra_validator": infra_validator})
        market = market.model_copy(update={"training": training})
    return ranking_pipeline(
        market,
        Workplace(work),
        out,
        rows=None,
        beam_args=beam_args or IN_PROCESS,
        first=[first],
        metadata=metadata,
    )


def compile_for_kubeflow(pipeline: Pipeline, image: str, file: Path) -> dict[str, Any]:
    """Writes a job for Kubeflow Pipelines 2 or Vertex AI, as YAML or JSON by the file's name.

    Args:
      image: a container image with OfferRank in it, which runs every component.

    Raises:
      OfferRankError: the file has another ending.
    """
    from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig

    if file.suffix not in (".json", ".yaml", ".yml"):
        raise OfferRankError(f"--out: expected a file that ends in .json, .yaml or .yml, got {str(file)!r}")
    config = KubeflowV2DagRunnerConfig(default_image=image, use_pipeline_spec_2_1=True)
    job: dict[str, Any] = KubeflowV2DagRunner(config, str(file.absolute().parent), file.name).run(pipeline)
    return job
