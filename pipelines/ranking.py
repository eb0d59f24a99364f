"""The training pipeline: TFX's components, and ours between them.

ExampleGen > StatisticsGen > ImportSchemaGen > ExampleValidator > AnomalyCheck > Transform > Trainer
  > Calibrator > Assessor > Release > ServingCheck > Pusher

The Assessor's exact metrics decide what is pushed. With `training.tfma` TFX's Evaluator has to bless the model, too; with
`training.infra_validator` InfraValidator stands beside ServingCheck. Both read tf.Examples, which TfExamples makes for them.
A warm start imports the Transform graph of the release before, with grown vocabularies, in place of Transform. Where rows are
judged before they are learned from, there is no Evaluator: it would ask the model that has learned from them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorflow_model_analysis.proto import config_pb2 as tfma
from tfx.components import Evaluator, ExampleValidator, FileBasedExampleGen, StatisticsGen, Trainer, Transform
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import example_gen_pb2, pusher_pb2, trainer_pb2, transform_pb2
from tfx.types.standard_artifacts import TransformGraph

from features.market import Market
from features.slices import parts_of
from features.training_spec import Gate
from pipelines.components import tf_examples
from pipelines.components.anomaly_check import AnomalyCheck
from pipelines.components.assessor import Assessor
from pipelines.components.atomic_pusher import AtomicPusher
from pipelines.components.calibrator import Calibrator
from pipelines.components.parquet_examples import ParquetExamples
from pipelines.components.release import Release
from pipelines.components.serving_check import ServingCheck
from pipelines.ingest import Ingested
from pipelines.requirements import TaskRows
from pipelines.splits import SPLITS
from pipelines.workplace import Workplace

IN_PROCESS = ("--direct_running_mode=in_memory", "--direct_num_workers=1", "--sdk_container_image=none")
"""Without an image TFX packs itself up for Beam's workers, 50 MB and some seconds for each of four components; here are none."""


def ranking_pipeline(
    market: Market,
    work: Workplace,
    out: Path,
    rows: Ingested | None,
    previous: Path | None = None,
    beam_args: Sequence[str] = IN_PROCESS,
    first: Sequence[Any] = (),
    metadata: Any = None,
) -> Pipeline:
    """Everything from rows that are laid out in `work` to a pushed release.

    Args:
      out: releases folder.
      rows: how many of what there are; none where they are laid out by the pipeline itself, in which case TFX's Evaluator, if
        it is asked for, knows no bounds.
      previous: the release to start from; `work.transform` is then used in place of a Transform.
      beam_args: pipeline options of Beam.
      first: components that run before all others.
      metadata: a ConnectionConfig of ML Metadata; without one, a file in `work`.
    """
    custom_config = {"market": str(work.market)}
    splits = [split for split in SPLITS if rows is None or rows.rows[split]]
    learned, stopping = [split for split in splits if split == "train"] or splits, [s for s in splits if s != "train"]
    examples = ParquetExamples(rows=str(work.rows), splits=" ".join(splits)).with_id("ExampleGen")
    statistics = StatisticsGen(examples=examples.outputs["examples"], exclude_splits=["valid"])
    schema = ImportSchemaGen(schema_file=str(work.schema))
    validator = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    check = AnomalyCheck(anomalies=validator.outputs["anomalies"], data=market.name)
    if previous is None:
        transform = Transform(
            examples=examples.outputs["examples"],
            schema=schema.outputs["schema"],
            preprocessing_fn="models.preprocessing.preprocessing_fn",
            custom_config=custom_config,
            splits_config=transform_pb2.SplitsConfig(analyze=["train"]),
            materialize=False,
            disable_analyzer_cache=True,
            disable_statistics=True,
        )
        transform_graph = transform.outputs["transform_graph"]
    else:
        transform = Importer(source_uri=str(work.transform), artifact_type=TransformGraph).with_id("FormerTransform")
        transform_graph = transform.outputs["result"]
    transform.add_upstream_node(check)
    trainer = Trainer(
        examples=examples.outputs["examples"],
        transform_graph=transform_graph,
        schema=schema.outputs["schema"],
        run_fn="pipelines.training.run_fn",
        custom_config=custom_config | {"origin": str(work.origin), "previous": str(previous) if previous else None},
        train_args=trainer_pb2.TrainArgs(splits=learned),
        eval_args=trainer_pb2.EvalArgs(splits=stopping),
    )
    calibrator = Calibrator(
        model=trainer.outputs["model"],
        examples=examples.outputs["examples"],
        market_file=str(work.market),
        previous=str(previous) if previous else "",
    )
    assessor = Assessor(
        model=trainer.outputs["model"],
        examples=examples.outputs["examples"],
        calibration=calibrator.outputs["calibration"],
        market_file=str(work.market),
        releases=str(out),
        data_file=str(work.used),
        places_file=str(work.places),
    )
    release = Release(
        model=trainer.outputs["model"],
        calibration=calibrator.outputs["calibration"],
        assessment=assessor.outputs["assessment"],
        statistics=statistics.outputs["statistics"],
        market_file=str(work.market),
        releases=str(out),
        origin_file=str(work.origin),
    )
    serving_check = ServingCheck(release_model=release.outputs["release_model"], market_file=str(work.market))
    views = market.training.tfma and (rows is None or not rows.progressive)
    records = [_tf_examples(work)] if views or market.training.infra_validator else []
    judges = [_evaluator(market, rows, records[0], trainer, schema)] if views else []
    checks = [serving_check]
    if (platform := market.training.infra_validator) is not None:
        from pipelines.components.infra_validator import (
            InfraValidator,  # clients of Docker and Kubernetes: a second that few need
        )

        checks.append(InfraValidator(release.outputs["release_model"], records[0].outputs["examples"], platform))
    pusher = AtomicPusher(
        model=release.outputs["release_model"],
        model_blessing=judges[0].outputs["blessing"] if judges else None,
        infra_blessing=serving_check.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(out))),
    ).with_id("Pusher")
    pusher.add_upstream_nodes(checks)
    for component in first:
        for node in (examples, schema, *records):
            node.add_upstream_node(component)
    return Pipeline(
        pipeline_name=market.name,
        pipeline_root=str(work.path / "artifacts"),
        metadata_connection_config=metadata or sqlite_metadata_connection_config(str(work.metadata)),
        components=[
            *first,
            *(examples, statistics, schema, validator, check, transform, trainer),
            *(calibrator, assessor, *records, *judges, release, *checks, pusher),
        ],
        enable_cache=False,
        beam_pipeline_args=list(beam_args),
    )


def _tf_examples(work: Workplace) -> Any:
    """The rows of `eval` as tf.Examples."""
    return FileBasedExampleGen(
        input_base=str(work.rows),
        input_config=example_gen_pb2.Input(splits=[example_gen_pb2.Input.Split(name="eval", pattern="eval/*.parquet")]),
        custom_executor_spec=executor_spec.BeamExecutorSpec(tf_examples.Executor),
    ).with_id("TfExamples")


def _evaluator(market: Market, rows: Ingested | None, records: Any, trainer: Any, schema: Any) -> Any:
    return Evaluator(
        examples=records.outputs["examples"],
        model=trainer.outputs["model"],
        eval_config=eval_config(market, rows),
        example_splits=["eval"],
        schema=schema.outputs["schema"],
    )


def eval_config(market: Market, rows: Ingested | None) -> tfma.EvalConfig:
    """TFMA's metrics of every task, whole and by slice, with the AUC gates.

    Every task has one threshold that always holds: TFMA blesses nothing without any.
    """
    several = len(market.tasks) > 1
    # A campaign has no column, and a placement one of codes.
    single = {f.name for f in market.features}
    sliced = [parts for name in market.training.slices if single.issuperset(parts := parts_of(name))]
    model = tfma.ModelSpec(signature_name="examples", model_type="tf_generic")
    if several:
        model.label_keys.update({t.name: t.label for t in market.tasks})
        model.example_weight_keys.update({t.name: t.counts_column for t in market.tasks})
    else:
        model.label_key, model.example_weight_key = market.tasks[0].label, market.tasks[0].counts_column
    config = tfma.EvalConfig(
        model_specs=[model],
        slicing_specs=[tfma.SlicingSpec(), *(tfma.SlicingSpec(feature_keys=parts) for parts in sliced)],
        options=tfma.Options(include_default_metrics={"value": False}),
    )
    for t in market.tasks:
        gate, seen = market.training.gates.get(t.name, Gate()), rows.tasks["eval"][t.name] if rows else TaskRows()
        metrics = [_metric("ExampleCount", at_least=0)]
        if seen.positives and seen.negatives:
            judged = t.role == "primary" and min(seen.positives, seen.negatives) >= gate.min_positives
            metrics.append(_metric("AUC", at_least=gate.min_auc if judged else None))
            metrics += [_metric("BinaryCrossentropy"), _metric("Calibration")]
        config.metrics_specs.append(tfma.MetricsSpec(metrics=metrics, output_names=[t.name] if several else []))
    return config


def _metric(name: str, at_least: float | None = None) -> tfma.MetricConfig:
    """A metric; with a bound for the whole split alone, since a plain threshold would hold for every slice."""
    config = tfma.MetricConfig(class_name=name)
    if at_least is not None:
        bound = tfma.MetricThreshold(value_threshold=tfma.GenericValueThreshold(lower_bound={"value": at_least}))
        config.per_slice_thresholds.append(tfma.PerSliceMetricThreshold(slicing_specs=[tfma.SlicingSpec()], threshold=bound))
    return config
