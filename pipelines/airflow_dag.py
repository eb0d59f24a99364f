"""DAGs for Airflow: an incremental training every hour, a full one every day. Copy this file into the folder of DAGs.

Airflow is no dependency of ours. The environment that loads this file has it beside OfferRank; docs/retraining.md says how.
"""

import os
import shlex
from datetime import UTC, datetime
from pathlib import Path

from airflow import DAG
from airflow.operators.bash import BashOperator
from tfx.orchestration.airflow.airflow_dag_runner import AirflowDagRunner, AirflowPipelineConfig

from features.market import load_market
from pipelines.orchestration import log_pipeline

MARKET, LOG_DIR, RELEASES, WORK_DIR = (
    Path(os.environ[f"OFFERRANK_{name}"]) for name in ("MARKET", "LOG_DIR", "RELEASES", "WORK_DIR")
)
ONE_AT_A_TIME = {"start_date": datetime(2026, 1, 1, tzinfo=UTC), "catchup": False, "max_active_runs": 1}

full = AirflowDagRunner(AirflowPipelineConfig({"schedule": "@daily", **ONE_AT_A_TIME})).run(
    log_pipeline(MARKET, LOG_DIR, RELEASES, WORK_DIR)
)

with DAG(f"{load_market(MARKET).name}-incremental", schedule="@hourly", **ONE_AT_A_TIME) as incremental:
    # It trains in full itself where the daily run has brought no release for two days.
    command = ["offerrank", "retrain", "--market", MARKET, "--log", LOG_DIR, "--out", RELEASES, "--full-every", "2d"]
    BashOperator(task_id="retrain", bash_command=shlex.join(map(str, command)))
