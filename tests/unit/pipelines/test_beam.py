"""Beam's runners by flag: what is accepted parses as Beam's own options, without a connection."""

import warnings

import pytest

from domain.errors import OfferRankError
from pipelines.beam import beam_args

DATAFLOW = ("--project=shop-1", "--region=europe-west4", "--temp_location=gs://shop/tmp")


@pytest.fixture(autouse=True)
def _quiet_imports() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import apache_beam.options.pipeline_options  # noqa: F401


@pytest.mark.parametrize(
    ("runner", "options", "beam_runner"),
    [
        ("direct", ("--direct_num_workers=2",), "DirectRunner"),
        ("flink", ("--flink_master=flink:8081", "--parallelism=4", "--environment_type=LOOPBACK"), "FlinkRunner"),
        ("spark", ("--spark_master_url=spark://spark:7077",), "SparkRunner"),
        ("dataflow", (*DATAFLOW, "--max_num_workers=4"), "DataflowRunner"),
    ],
)
def test_a_runner_and_its_options_are_what_beam_reads(runner: str, options: tuple[str, ...], beam_runner: str) -> None:
    from apache_beam.options.pipeline_options import PipelineOptions

    arguments = beam_args(runner, options)
    read = PipelineOptions(list(arguments)).get_all_options(retain_unknown_options=True)
    assert read["runner"] == beam_runner
    for option in options:
        name, _, value = option.removeprefix("--").partition("=")
        assert str(read[name]) == value


def test_without_a_runner_beam_keeps_its_own() -> None:
    assert beam_args(None, ()) == ()


@pytest.mark.parametrize(
    ("runner", "options", "said"),
    [
        ("storm", (), "--beam-runner: expected one of direct, flink, spark, dataflow, got 'storm'"),
        (None, ("--parallelism=4",), "--beam-arg: expected --beam-runner with it"),
        ("flink", ("parallelism=4",), "got 'parallelism=4'"),
        ("flink", ("--runner=SparkRunner",), "got '--runner=SparkRunner'"),
        ("dataflow", DATAFLOW[1:], "the dataflow runner needs --project"),
        ("dataflow", (*DATAFLOW, "--max_num_workers=many"), "Beam cannot parse .*--max_num_workers=many"),
    ],
)
def test_what_cannot_be_meant_is_refused(runner: str | None, options: tuple[str, ...], said: str) -> None:
    with pytest.raises(OfferRankError, match=said):
        beam_args(runner, options)
