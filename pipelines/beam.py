"""Where Beam runs the components that read all rows: StatisticsGen, Transform, and TFMA's."""

from collections.abc import Sequence

from domain.errors import OfferRankError

RUNNERS = {"direct": "DirectRunner", "flink": "FlinkRunner", "spark": "SparkRunner", "dataflow": "DataflowRunner"}
REQUIRED = {"dataflow": ("project", "region", "temp_location")}


def beam_args(runner: str | None, options: Sequence[str]) -> tuple[str, ...]:
    """Beam's pipeline options for a runner; nothing for none. Parses them without connecting anywhere.

    Args:
      runner: a key of `RUNNERS`.
      options: each `--name=value`, as Beam's documentation of the runner has them.
    Raises:
      OfferRankError: an unknown runner, an option of another form, without a runner, or a required one is missing.
    """
    if runner is None:
        if options:
            raise OfferRankError(f"--beam-arg: expected --beam-runner with it, got {list(options)}")
        return ()
    if runner not in RUNNERS:
        raise OfferRankError(f"--beam-runner: expected one of {', '.join(RUNNERS)}, got {runner!r}")
    for option in options:
        if not option.startswith("--") or option.startswith("--runner"):
            raise OfferRankError(f"--beam-arg: expected an option of the runner such as --parallelism=4, got {option!r}")
    arguments = (f"--runner={RUNNERS[runner]}", *options)
    parsed = _parsed(arguments)
    missing = [f"--{name}" for name in REQUIRED.get(runner, ()) if not parsed.get(name)]
    if missing:
        raise OfferRankError(f"--beam-arg: the {runner} runner needs {', '.join(missing)}")
    return arguments


def _parsed(arguments: Sequence[str]) -> dict[str, object]:
    """As Beam itself reads them; what only the runner's job server knows is passed through."""
    from apache_beam.options.pipeline_options import PipelineOptions

    try:
        options: dict[str, object] = PipelineOptions(list(arguments)).get_all_options(retain_unknown_options=True)
    except SystemExit:
        raise OfferRankError(f"--beam-arg: Beam cannot parse {' '.join(arguments[1:])}; its reason stands above") from None
    return options
