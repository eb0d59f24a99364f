"""The `offerrank` command. Each command imports what it needs when it runs, so that `--help` is instant."""

import sys
from collections.abc import Callable
from functools import wraps
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from typer.core import TyperGroup

from domain.doubted import Doubted
from domain.errors import NotBlessed, OfferRankError
from domain.local_paths import require_local
from offerrank import options

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

    Settings = TypeVar("Settings", bound=BaseSettings)


class _OneLineErrors(TyperGroup):
    """What OfferRank raises on purpose is the user's to mend: one line on standard error, no traceback.

    The exit code is 2, as for wrong usage; 3 says that nothing is wrong but the model, which missed a gate
    or could not be judged.
    """

    def invoke(self, ctx: Any) -> Any:
        """Runs a command."""
        try:
            return super().invoke(ctx)
        except OfferRankError as error:
            typer.echo(f"offerrank: {error}", err=True)
            raise typer.Exit(3 if isinstance(error, NotBlessed) else 2) from None


class _Commands(typer.Typer):
    """Commands whose paths are paths of this machine."""

    def command(self, *named: Any, **options: Any) -> Callable[[Any], Any]:
        """As Typer's; an address of an object store is refused before the command begins."""
        register = super().command(*named, **options)

        def registered(function: Any) -> Any:
            @wraps(function)
            def checked(**given: Any) -> Any:
                for path in (value for value in given.values() if isinstance(value, Path)):
                    require_local(path)
                return function(**given)

            register(checked)
            return function

        return registered


app = _Commands(
    cls=_OneLineErrors,
    name="offerrank",
    help="Decides which offers a purchase confirmation page shows, in which order and at what price.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
market_app = _Commands(help="Look at market files.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(market_app, name="market")
data_app = _Commands(help="Look at training logs.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")
traffic_app = _Commands(help="Look for traffic that is none of shoppers.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(traffic_app, name="traffic")
keys_app = _Commands(help="Say who may ask the gateway for what.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(keys_app, name="keys")
pipeline_app = _Commands(help="Give the training pipeline to an orchestrator.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(pipeline_app, name="pipeline")
fault_app = _Commands(help="Break what simulated shoppers send.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(fault_app, name="fault")
alert_app = _Commands(help="See whether incidents are told.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(alert_app, name="alert")
catalogue_app = _Commands(help="Change what is sold, while it is sold.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(catalogue_app, name="catalogue")
campaign_app = _Commands(help="Run campaigns by the campaign API.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(campaign_app, name="campaign")
ledger_app = _Commands(help="Look into the books.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(ledger_app, name="ledger")


@app.command()
def init(
    data: Annotated[
        Path | None, typer.Argument(help="A CSV or Parquet file, or a folder of them, to learn from.", show_default="none")
    ] = None,
    out: Annotated[Path, typer.Option(help="The market file to write.")] = Path("market.toml"),
    label: Annotated[list[str], typer.Option(help="Column of what came of it; may be repeated.", show_default="guessed")] = [],  # noqa: B006
    positive: Annotated[str | None, typer.Option(help="Value of the label that means yes.", show_default="guessed")] = None,
    offer: Annotated[str | None, typer.Option(help="Column that tells offers apart, or none.", show_default="guessed")] = None,
    time: Annotated[str | None, typer.Option(help="Column of times to split by, or none.", show_default="guessed")] = None,
    leave_out: Annotated[
        list[str], typer.Option(help="A column that is no feature, such as one known only afterwards; may be repeated.")
    ] = [],  # noqa: B006
    offer_feature: Annotated[list[str], typer.Option(help="A column that describes the offer; may be repeated.")] = [],  # noqa: B006
    columns: Annotated[
        str | None, typer.Option(help="Names for files without a header line, with commas between them.", show_default="none")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the market.", show_default="of the file")] = None,
    currency: Annotated[str, typer.Option(help="ISO 4217 code.")] = "USD",
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
    questions: Annotated[bool, typer.Option(help="Ask, where there is a terminal; else guess.")] = True,
) -> None:
    """Write a first market.toml from a training log, or from a few answers."""
    from offerrank.starting.command import Wanted, run
    from offerrank.starting.draft import Answers

    answers = Answers(tuple(label), positive, offer, time, tuple(leave_out), tuple(offer_feature))
    named = tuple(one.strip() for one in columns.split(",")) if columns else ()
    run(Wanted(data, out, name, currency, answers, named, force, questions))


@app.command()
def demo(
    minutes: Annotated[
        float | None, typer.Option(min=0.2, help="End by itself after so many minutes.", show_default="until Ctrl-C")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the summary to this file as JSON.")] = None,
    seed: options.Seed = 7,
    rate: Annotated[float, typer.Option(min=1, max=500, help="Purchases per second, on average over the simulated day.")] = 40.0,
    train_after: Annotated[
        float, typer.Option(min=5, help="Seconds of traffic to learn from; training starts once its conversions are final.")
    ] = 60.0,
    retrain_every: Annotated[float, typer.Option(min=30, help="Seconds between the trainings after it.")] = 300.0,
    market: Annotated[
        Path | None, typer.Option(help="Another market.toml that shoppers can be simulated for.", show_default=False)
    ] = None,
    directory: Annotated[Path, typer.Option("--dir", help="Where the run's folder is made.")] = Path(".offerrank"),
) -> None:
    """Open the whole loop on a simulated market: serve, learn, swap the model, and say what it brought."""
    from offerrank.demo import DemoSettings, run

    raise typer.Exit(
        run(
            DemoSettings(
                minutes=minutes,
                json=json,
                seed=seed,
                per_second=rate,
                train_after_s=train_after,
                retrain_every_s=retrain_every,
                market=market,
                directory=directory,
            )
        )
    )


@app.command()
def serve(
    market: options.Market,
    release: Annotated[
        Path | None,
        typer.Option(
            help="A release, or a folder of releases by version; none serves the cold-start policy.", show_default=False
        ),
    ] = None,
    directory: Annotated[
        Path, typer.Option("--dir", help="Keeps Redis data, logs and secrets; the same folder carries on where it ended.")
    ] = Path(".offerrank/serve"),
    host: options.Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the gateway; the next free one if taken.")] = 8080,
    monitor_port: Annotated[int, typer.Option(min=1, max=65535, help="Of the page; the next free one if taken.")] = 8081,
    public_url: options.PublicUrl = None,
    campaign_port: Annotated[int, typer.Option(min=1, max=65535, help="Of the campaign API; the next free one if taken.")] = 8084,
) -> None:
    """Serve a market: Redis, gateway, pacer, archiver, monitor, campaign API and model server, until Ctrl-C."""
    from offerrank.serve import run

    run(market, release, directory, host, port, monitor_port, campaign_port, public_url)


@app.command()
def train(
    market: options.Market,
    data: options.Data,
    out: Annotated[Path, typer.Option(help="Folder of releases; the new one is OUT/VERSION.")],
    json: options.Json = False,
    work_dir: Annotated[
        Path | None, typer.Option(help="Keep the pipeline's artifacts, metadata and log here.", show_default="a temporary folder")
    ] = None,
    beam_runner: options.BeamRunner = None,
    beam_arg: options.BeamArgs = [],  # noqa: B006
    metadata: options.Metadata = None,
) -> None:
    """Train a release: the TFX pipeline from examples to a checked, pushed version."""
    from offerrank.training import disk_errors_said
    from offerrank.training import train as run
    from pipelines.beam import beam_args

    with disk_errors_said():
        run(market, data, out, as_json=json, work_dir=work_dir, beam_args=beam_args(beam_runner, beam_arg), metadata=metadata)


@app.command()
def retrain(
    market: options.Market,
    out: Annotated[Path, typer.Option(envvar="OFFERRANK_RELEASES", help="Folder of releases; the new one is OUT/VERSION.")],
    log_dir: options.Log = options.LOG_DIR,
    every: Annotated[
        str | None, typer.Option(help="Again and again, such as 1h or 15m; once if absent.", show_default=False)
    ] = None,
    full_every: Annotated[
        str, typer.Option(help="Train on the whole log when the last such training is this long ago; 0s for each time.")
    ] = "24h",
    doubted: Annotated[
        Doubted,
        typer.Option(help="What becomes of new labels that the release in service does not believe, while they last."),
    ] = Doubted.REFUSE,
    delay: Annotated[
        str | None,
        typer.Option(help="Wait before the first time, such as 60s, and load TensorFlow meanwhile.", show_default=False),
    ] = None,
    json: options.Json = False,
    if_asked: options.IfAsked = False,
    beam_runner: options.BeamRunner = None,
    beam_arg: options.BeamArgs = [],  # noqa: B006
    metadata: options.Metadata = None,
) -> None:
    """Train on what the gateway logged: starts from the newest release, on what is new since; now and then on everything."""
    from offerrank.asked import is_asked
    from offerrank.retraining import Schedule
    from offerrank.retraining import retrain as run
    from pipelines.beam import beam_args

    if every:
        _log()
    elif if_asked and not is_asked(log_dir, out, "retrain"):
        return
    schedule = Schedule(
        every_s=options.seconds(every) if every else None,
        delay_s=options.seconds(delay) if delay else 0,
        full_every_s=0 if full_every == "0s" else options.seconds(full_every),
        doubted=doubted,
    )
    run(market, log_dir, out, schedule, json, beam_args(beam_runner, beam_arg), metadata)


@app.command()
def recalibrate(
    market: options.Market,
    releases: Annotated[
        Path,
        typer.Option(envvar="OFFERRANK_RELEASES", help="Folder of releases; the newest is recalibrated.", show_default=False),
    ],
    log_dir: options.Log = options.LOG_DIR,
    window: Annotated[str, typer.Option(help="How much of the log to use, such as 12h or 7d.")] = "7d",
    if_asked: options.IfAsked = False,
    json: options.Json = False,
) -> None:
    """Fit the newest release's calibrator to what was logged since; published only if that is better."""
    from offerrank.asked import is_asked
    from offerrank.recalibration import recalibrate as run

    if if_asked and not is_asked(log_dir, releases, "recalibrate"):
        return
    run(market, log_dir, releases, options.seconds(window), as_json=json)


@app.command()
def lineage(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RELEASE|DECISION", help="A version or folder of a release, or the id of a decision.", show_default=False
        ),
    ],
    releases: Annotated[Path, typer.Option(envvar="OFFERRANK_RELEASES", help="Folder of releases.", show_default=False)],
    log_dir: options.Log = options.LOG_DIR,
    metadata: options.Metadata = None,
    json: options.Json = False,
) -> None:
    """Say what a release goes back to, or what made a decision and what has learned from it."""
    from offerrank.lineage import lineage as run

    run(what, releases, log_dir, metadata, as_json=json)


@app.command()
def skew(
    release: Annotated[
        str | None,
        typer.Option(help="A release by folder or version, or a folder of releases.", show_default="each that ranked"),
    ] = None,
    log_dir: options.Log = options.LOG_DIR,
    releases: options.FolderOfReleases = options.RELEASES,
    market: options.ServedMarket = None,
    catalogue: options.CatalogueIfAny = None,
    since: options.Since = None,
    until: options.Until = None,
    sample: Annotated[
        int, typer.Option(min=1, max=100_000, help="Decisions of each release that are recomputed, at most.")
    ] = 1000,
    every: Annotated[
        str | None,
        typer.Option(help="Again and again, such as 1h, on what came since; differences become incidents.", show_default=False),
    ] = None,
    json: options.Json = False,
) -> None:
    """Recompute what was ranked as training would: every feature and probability. Exit code 1 if any differ."""
    from offerrank.skew import Asked, check

    until_ms = options.moment(until, end=True)
    since_ms, through_ms = options.moment(since) or 0, inf if until_ms is None else until_ms
    asked = Asked(log_dir, releases, release, market, since_ms, through_ms, sample, catalogue)
    if every is None:
        raise typer.Exit(check(asked, json))
    from offerrank.skew_watch import watch

    _log()
    watch(asked, options.seconds(every))


@app.command()
def explain(
    decision_id: Annotated[str, typer.Argument(metavar="ID", help="A decision.", show_default=False)],
    log_dir: options.Log = options.LOG_DIR,
    releases: options.FolderOfReleases = options.RELEASES,
    catalogue: options.CatalogueIfAny = None,
    market: options.ServedMarket = None,
    redis_url: options.RedisUrl = options.REDIS_URL,
    json: options.Json = False,
) -> None:
    """Explain a logged decision: every candidate, why it was shown or not, and which bid would have won."""
    from offerrank.explain import explain as run
    from serving.replay.world import Sources

    run(decision_id, Sources(log_dir, releases, catalogue, market), redis_url, json)


@app.command()
def replay(
    decision_id: Annotated[str | None, typer.Argument(metavar="ID", help="A decision.", show_default="all of a time")] = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="From this time on, UTC, such as 2026-11-26.", show_default="the beginning")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Up to this time; a date means its end.", show_default="now")] = None,
    log_dir: options.Log = options.LOG_DIR,
    releases: options.FolderOfReleases = options.RELEASES,
    catalogue: options.CatalogueIfAny = None,
    market: options.ServedMarket = None,
    redis_url: options.RedisUrl = options.REDIS_URL,
    processes: Annotated[int, typer.Option(min=1, max=256, help="Processes that share the work.")] = 1,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Of a time, so many decisions at most, the same ones again.", show_default="all")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Instead: what pages would have been with these keys of the policy.", show_default=False)
    ] = None,
    json: options.Json = False,
) -> None:
    """Make decisions once more from the log, the release and the catalogue of then. Exit code 1 if anything differs."""
    from offerrank.replay import Range, replay_one, replay_otherwise, replay_range
    from serving.replay.world import Sources

    sources, until_ms = Sources(log_dir, releases, catalogue, market), options.moment(end, end=True)
    between = Range(options.moment(begin) or 0, inf if until_ms is None else until_ms, processes, sample)
    if policy is not None:
        replay_otherwise(decision_id, policy, sources, between, redis_url, json)
    elif decision_id is not None:
        raise typer.Exit(replay_one(decision_id, sources, redis_url, json))
    else:
        raise typer.Exit(replay_range(sources, between, json))


@app.command()
def tfdv(
    release: Annotated[
        str | None,
        typer.Option(help="A release by folder or version, or a folder of releases.", show_default="the newest"),
    ] = None,
    log_dir: options.Log = options.LOG_DIR,
    releases: options.FolderOfReleases = options.RELEASES,
    market: options.ServedMarket = None,
    since: Annotated[
        str | None, typer.Option(help="From this time on, UTC, such as 2026-11-26T08:00.", show_default="an hour before the end")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Up to this time; a date means its end.", show_default="the archive's end")
    ] = None,
    infinity_norm: Annotated[float, typer.Option(min=0, max=1, help="Threshold of TFDV for text.")] = 0.1,
    jensen_shannon: Annotated[float, typer.Option(min=0, max=1, help="Threshold of TFDV for numbers.")] = 0.1,
    json: options.Json = False,
    html: Annotated[Path | None, typer.Option(help="Write it to this file as a page, too.", show_default=False)] = None,
) -> None:
    """Hold what was served against a release's training rows by TFDV's comparators. Exit code 1 for an anomaly."""
    from offerrank.tfdv import Asked, compare

    since_ms, until_ms = options.moment(since), options.moment(until, end=True)
    asked = Asked(log_dir, releases, release, market, since_ms, until_ms, infinity_norm, jensen_shannon)
    raise typer.Exit(compare(asked, json, html))


@app.command()
def gateway(
    market: options.Market,
    redis_url: options.RedisUrl = options.REDIS_URL,
    model_server: options.ModelServer = None,
    releases: options.Releases = None,
    host: options.Host = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="OFFERRANK_PORT", min=1, max=65535, help="Port to listen on.")] = 8080,
    public_url: options.PublicUrl = None,
    keys: Annotated[
        Path | None,
        typer.Option(envvar="OFFERRANK_KEYS", help="File of keys, made by `offerrank keys`.", show_default="this machine only"),
    ] = None,
    operator_port: Annotated[
        int | None,
        typer.Option(
            envvar="OFFERRANK_OPERATOR_PORT", min=1, max=65535, help="Port for /metrics and /docs.", show_default="none"
        ),
    ] = None,
) -> None:
    """Answer decisions and events over HTTP. OFFERRANK_SECRET must be set: it signs the URLs."""
    from serving.gateway.server import run
    from serving.gateway.settings import GatewaySettings

    _log()
    given = {"market": market, "redis_url": redis_url, "model_server": model_server, "releases": releases}
    given |= {"keys": keys, "operator_port": operator_port}
    run(_settings(GatewaySettings, **given, host=host, port=port, public_url=public_url))


@app.command("campaign-api")
def campaign_api(
    market: options.Market,
    keys: options.Keys,
    catalogue: options.Catalogue = options.CATALOGUE,
    host: options.Host = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="OFFERRANK_PORT", min=1, max=65535, help="Port to listen on.")] = 8084,
) -> None:
    """Let people and their programs look at campaigns and change them, over HTTP."""
    from serving.campaigns.server import run
    from serving.campaigns.settings import CampaignSettings

    _log()
    run(_settings(CampaignSettings, market=market, keys=keys, catalogue=catalogue, host=host, port=port))


@app.command("model-server")
def model_server(
    model_base_path: Annotated[Path, typer.Option(envvar="OFFERRANK_MODEL_BASE_PATH", help="Folder with one model per version.")],
    host: options.Host = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="OFFERRANK_PORT", min=0, max=65535, help="gRPC port.")] = 8500,
    rest_port: Annotated[int, typer.Option(envvar="OFFERRANK_REST_PORT", min=0, max=65535, help="REST port.")] = 8501,
) -> None:
    """Serve models over TF Serving's gRPC and REST API."""
    from serving.model_server.server import run
    from serving.model_server.settings import ModelServerSettings

    run(_settings(ModelServerSettings, model_base_path=model_base_path, host=host, port=port, rest_port=rest_port))


@app.command()
def pacer(
    market: options.Market, redis_url: options.RedisUrl = options.REDIS_URL, log_dir: options.LogDir = options.LOG_DIR
) -> None:
    """Open budgets, keep campaigns on their spending plan, sweep holds that ran out, and repair money that Redis lost."""
    from serving.pacer import PacerSettings, run

    _log()
    run(_settings(PacerSettings, market=market, redis_url=redis_url, log_dir=log_dir))


@app.command()
def archiver(
    market: options.Market, redis_url: options.RedisUrl = options.REDIS_URL, log_dir: options.LogDir = options.LOG_DIR
) -> None:
    """Drain the decision and event streams into Parquet files."""
    from serving.archiver import ArchiverSettings, run

    run(_settings(ArchiverSettings, market=market, redis_url=redis_url, log_dir=log_dir))


@app.command()
def watch(
    market: options.Market,
    redis_url: options.RedisUrl = options.REDIS_URL,
    log_dir: options.LogDir = options.LOG_DIR,
    releases: options.Releases = None,
    gateway_url: Annotated[
        str | None,
        typer.Option(envvar="OFFERRANK_GATEWAY_URL", help="Gateway to look at.", show_default="none"),
    ] = None,
) -> None:
    """Summarise the archive hour by hour, find what is not as usual, and tell whoever is on call."""
    from monitoring.watch import WatchSettings, run

    given = {"market": market, "redis_url": redis_url, "log_dir": log_dir, "releases": releases, "gateway_url": gateway_url}
    run(_settings(WatchSettings, **given))


@alert_app.command("test")
def test_alerts(market: options.Market) -> None:
    """Send a test by each receiver that is set, and say which took it. Exit code 1 if one did not."""
    from offerrank.alerting import test as run

    raise typer.Exit(run(market))


@app.command()
def summaries(
    market: options.Market,
    log_dir: options.Log = options.LOG_DIR,
    out: Annotated[
        Path | None, typer.Option(help="Folder whose monitor.sqlite takes them.", show_default="the archive's, for the watch")
    ] = None,
    since: options.Since = None,
    until: options.Until = None,
    work_dir: Annotated[
        Path | None, typer.Option(help="Folder that Beam's workers see at the same path.", show_default="a temporary folder")
    ] = None,
    json: options.Json = False,
    beam_runner: options.BeamRunner = None,
    beam_arg: options.BeamArgs = [],  # noqa: B006
) -> None:
    """Summarise a long archive as the watch would, by Beam: on this machine or on many."""
    from offerrank.summaries import run
    from offerrank.training import disk_errors_said
    from pipelines.beam import beam_args

    until_ms, args = options.moment(until, end=True), beam_args(beam_runner, beam_arg)
    with disk_errors_said():
        run(market, log_dir, out, options.moment(since) or 0, until_ms, work_dir, args, json)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT over `decisions` and `events`.", show_default=False)],
    log_dir: options.LogDir = options.LOG_DIR,
    json: Annotated[bool, typer.Option("--json", help="Print each row as a line of JSON.")] = False,
) -> None:
    """Ask the archive anything, in SQL."""
    from offerrank.query import run

    run(sql, log_dir, json)


@app.command()
def reconcile(
    market: options.Market,
    redis_url: options.RedisUrl = options.REDIS_URL,
    log_dir: options.LogDir = options.LOG_DIR,
    repair: Annotated[bool, typer.Option("--repair", help="First give Redis the money of the ledger, and open it.")] = False,
    json: options.Json = False,
) -> None:
    """Hold the books against Redis: every campaign and budget day, to the micro. Exit code 1 if any differ."""
    from offerrank.books import reconcile as run

    raise typer.Exit(run(market, redis_url, log_dir, repair, json))


@ledger_app.command("balance")
def balance(
    market: options.Market,
    log_dir: options.LogDir = options.LOG_DIR,
    by: Annotated[options.By, typer.Option(help="What a row stands for.")] = options.By.CAMPAIGN,
    since: options.Since = None,
    until: options.Until = None,
    json: options.Json = False,
) -> None:
    """What was charged, given back, is pending, held, and would have been charged for invalid traffic."""
    from offerrank.books import balance as run

    run(market, log_dir, by, options.moment(since), options.moment(until, end=True), json)


@ledger_app.command("clawback")
def clawback(
    market: options.Market,
    redis_url: options.RedisUrl = options.REDIS_URL,
    log_dir: options.LogDir = options.LOG_DIR,
    reason: Annotated[
        str | None, typer.Option(help="Why, in a word: the balance shows it.", show_default="that of the list")
    ] = None,
    event: Annotated[list[str], typer.Option(help="Id of an event; may be repeated.", show_default=False)] = [],  # noqa: B006
    shopper: Annotated[list[str], typer.Option(help="Key of a shopper; may be repeated.", show_default=False)] = [],  # noqa: B006
    key: Annotated[list[str], typer.Option(help="Name of a key that asked for pages; may be repeated.", show_default=False)] = [],  # noqa: B006
    since: options.Since = None,
    until: options.Until = None,
    listed: Annotated[
        Path | None,
        typer.Option("--from", help="Lines of `offerrank traffic suspects --json`; - for standard input.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be taken back.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print each charge as a line of JSON.")] = False,
) -> None:
    """Take back charges that were found invalid later: in Redis, log and books, once each. Everything given has to match."""
    from offerrank.books import Suspects
    from offerrank.books import clawback as run

    if not (event or shopper or key or listed or since or until):
        raise typer.BadParameter("say which charges: --event, --shopper, --key, --since, --until or --from")
    if reason is None and listed is None:
        raise typer.BadParameter("say why", param_hint="--reason")
    given = Suspects(
        reason,
        frozenset(event),
        frozenset(shopper),
        frozenset(key),
        options.moment(since),
        options.moment(until, end=True),
        listed,
    )
    run(market, redis_url, log_dir, given, dry_run, json)


@ledger_app.command("export")
def export(
    market: options.Market,
    out: Annotated[Path, typer.Option(help="The Parquet file.", show_default=False)],
    log_dir: options.LogDir = options.LOG_DIR,
    since: options.Since = None,
    until: options.Until = None,
) -> None:
    """Write the postings as Parquet, two rows to a transfer."""
    from offerrank.books import export as run

    run(market, log_dir, out, options.moment(since), options.moment(until, end=True))


@app.command("demo-store")
def demo_store() -> None:
    """Serve the demo's store: what it is told stands in docs/sdk.md."""
    from offerrank.demo_store import StoreSettings, run

    run(_settings(StoreSettings))


@app.command("sdk")
def web_sdk(
    to: Annotated[
        Path | None, typer.Option(help="Write offerrank.js and its types into this folder.", show_default=False)
    ] = None,
) -> None:
    """Print what a page needs to load the web SDK and check it."""
    from offerrank.web_sdk import deliver

    typer.echo(deliver(to))


@app.command()
def monitor(
    market: options.Market,
    redis_url: options.RedisUrl = options.REDIS_URL,
    gateway_url: Annotated[
        str | None, typer.Option(envvar="OFFERRANK_GATEWAY_URL", help="Gateway whose state is shown.", show_default="none")
    ] = None,
    host: options.Host = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="OFFERRANK_PORT", min=1, max=65535, help="Port to listen on.")] = 8081,
) -> None:
    """Serve the page: decisions, latency, CTR, revenue and spend, live."""
    from monitoring.dashboard import DashboardSettings, run

    run(_settings(DashboardSettings, market=market, redis_url=redis_url, gateway_url=gateway_url, host=host, port=port))


DemoFolder = Annotated[Path, typer.Option("--dir", help="Where the demo's folder was made.")]


@fault_app.command("list")
def list_faults() -> None:
    """Print what can be broken."""
    from simulation.faults import FAULTS

    for fault in FAULTS.values():
        typer.echo(f"{fault.name:16} {fault.said}")


@fault_app.command("inject")
def inject_fault(
    name: Annotated[str, typer.Argument(help="One that `offerrank fault list` prints.")],
    directory: DemoFolder = Path(".offerrank"),
) -> None:
    """Break something in the demo that runs, to see when the page names it."""
    from monitoring.fault_switch import AT_WORK
    from offerrank.demo import running_demo
    from simulation.faults import inject

    fault = inject(running_demo(directory) / AT_WORK, name)
    typer.echo(f"from now on {fault.said}; `offerrank fault clear` mends it")


@fault_app.command("clear")
def clear_fault(directory: DemoFolder = Path(".offerrank")) -> None:
    """Mend what was broken in the demo that runs."""
    from monitoring.fault_switch import AT_WORK
    from offerrank.demo import running_demo
    from simulation.faults import clear

    clear(running_demo(directory) / AT_WORK)


@app.command()
def simulate(
    market: options.Market,
    gateway_url: options.GatewayUrl = options.GATEWAY_URL,
    key: Annotated[
        str, typer.Option(envvar="OFFERRANK_SERVER_KEY", help="A server's key of that gateway.", show_default=False)
    ] = "",
    rate: Annotated[float, typer.Option(min=0.1, max=500, help="Purchases per second, on average over the day.")] = 20.0,
    seconds: Annotated[float | None, typer.Option("--seconds", min=1, help="How long.", show_default="until Ctrl-C")] = None,
    seed: options.Seed = 7,
    json: options.Json = False,
) -> None:
    """Let simulated shoppers meet a running gateway."""
    from offerrank.simulate import run

    run(market, gateway_url, key, rate, seconds, seed, as_json=json)


@market_app.command("check")
def check(path: Annotated[Path, typer.Argument(help="The market.toml to check.", show_default=False)]) -> None:
    """Say whether a market file can be used, and what is in it."""
    from domain.clock import now_ms
    from domain.money import format_micros
    from features.market import load_market
    from features.market_warnings import market_warnings

    market = load_market(path)
    budget = sum(c.daily_budget_micros or 0 for c in market.campaigns)
    typer.echo(f"{path}: market {market.name!r} is fine")
    typer.echo(f"  {len(market.offers)} offers of {len(market.campaigns)} campaigns")
    typer.echo(f"  daily budgets of {format_micros(budget, market.currency)} in all")
    typer.echo(f"  {len(market.request_features)} request and {len(market.offer_features)} offer features")
    typer.echo(f"  tasks {', '.join(t.name for t in market.tasks)}; policy {market.policy.id}")
    for warning in market_warnings(market, now_ms()):
        typer.echo(f"  warning: {warning}", err=True)


@catalogue_app.command("import")
def import_catalogue(
    files: Annotated[list[Path], typer.Argument(help="market.toml or another .toml, .csv or .jsonl.", show_default=False)],
    market: options.Market,
    catalogue: options.Catalogue = options.CATALOGUE,
    replace: Annotated[bool, typer.Option("--replace", help="Take out what the files do not list.")] = False,
    expect: Annotated[
        int | None, typer.Option(min=0, help="Only if the catalogue is at this version.", show_default="any version")
    ] = None,
    by: options.By_ = None,
    why: options.Why = "",
) -> None:
    """Add and change campaigns and offers: all that the files list, or nothing if one of them is wrong."""
    from offerrank.catalogue import import_files

    import_files(files, market, catalogue, replace, expect, by, why)


@catalogue_app.command("remove")
def remove_from_catalogue(
    market: options.Market,
    catalogue: options.Catalogue = options.CATALOGUE,
    campaign: Annotated[
        list[str], typer.Option(help="A campaign, with all its offers; may be repeated.", show_default=False)
    ] = [],  # noqa: B006
    offer: Annotated[list[str], typer.Option(help="An offer; may be repeated.", show_default=False)] = [],  # noqa: B006
    by: options.By_ = None,
    why: options.Why = "",
) -> None:
    """Take campaigns and offers out: they are sold no more, and what was clicked before is still charged."""
    from offerrank.catalogue import remove

    remove(campaign, offer, market, catalogue, by, why)


@catalogue_app.command("export")
def export_catalogue(
    out: Annotated[Path, typer.Argument(help="File to write, .toml or .jsonl, or a folder for .csv files.", show_default=False)],
    market: options.Market,
    catalogue: options.Catalogue = options.CATALOGUE,
    at: Annotated[int | None, typer.Option(min=1, help="As it was at this version.", show_default="as it is")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="A whole market file, such as a training takes.")] = False,
) -> None:
    """Write campaigns and offers to a file that `catalogue import` reads."""
    from offerrank.catalogue import export

    export(out, market, catalogue, at, whole)


@catalogue_app.command("at")
def catalogue_at(
    version: Annotated[int, typer.Argument(min=1, help="A version of the catalogue.", show_default=False)],
    market: options.Market,
    catalogue: options.Catalogue = options.CATALOGUE,
) -> None:
    """Print the campaigns and offers of a version, one JSON object a line."""
    from offerrank.catalogue import show_at

    show_at(version, market, catalogue)


@catalogue_app.command("log")
def catalogue_log(
    market: options.Market,
    catalogue: options.Catalogue = options.CATALOGUE,
    version: Annotated[
        int | None, typer.Option(min=1, help="What this version changed, from what to what.", show_default="the last changes")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many, newest first.")] = 20,
    json: options.Json = False,
) -> None:
    """Say who changed the catalogue, when, why, and what."""
    from offerrank.catalogue import show_log

    show_log(market, catalogue, version, limit, json)


@campaign_app.command("import")
def import_listed(
    api: options.CampaignUrl = options.CAMPAIGN_URL, key: options.CampaignKey = None, why: options.Why = ""
) -> None:
    """Take over what market.toml lists: from then on the catalogue is sold, and can be changed."""
    from offerrank.campaigns import client, take_over

    take_over(client(api, key), why)


@campaign_app.command("list")
def list_campaigns(
    api: options.CampaignUrl = options.CAMPAIGN_URL,
    key: options.CampaignKey = None,
    advertiser: Annotated[str | None, typer.Option(help="Of this advertiser.", show_default="all")] = None,
    status: Annotated[
        str | None, typer.Option(help="Some of draft, scheduled, live, paused, ended, with commas.", show_default="all")
    ] = None,
    text: Annotated[str | None, typer.Option(help="In id or name.", show_default="all")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many.")] = 1000,
    json: options.Json = False,
) -> None:
    """One line for each campaign."""
    from offerrank.campaigns import client, show_list

    show_list(client(api, key), advertiser, status, text, limit, json)


@campaign_app.command("show")
def show_campaign(
    campaign: options.CampaignId,
    api: options.CampaignUrl = options.CAMPAIGN_URL,
    key: options.CampaignKey = None,
    at: Annotated[int | None, typer.Option(min=1, help="As it was at this version.", show_default="as it is")] = None,
    json: options.Json = False,
) -> None:
    """A campaign with all that is not the default."""
    from offerrank.campaigns import client, show

    show(client(api, key), campaign, at, json)


@campaign_app.command("create")
def create_campaign(
    campaign: options.CampaignId,
    fields: options.Fields = [],  # noqa: B006
    file: Annotated[Path | None, typer.Option(help="JSON of a campaign to begin with.", show_default="none")] = None,
    api: options.CampaignUrl = options.CAMPAIGN_URL,
    key: options.CampaignKey = None,
    why: options.Why = "",
) -> None:
    """Make a campaign: `create spring advertiser=acme bid_kind=cpc bid_micros=400000 status=draft`."""
    from offerrank.campaigns import client, create

    create(client(api, key), campaign, fields, file, why)


@campaign_app.command("set")
def set_campaign(
    campaign: options.CampaignId,
    fields: options.Fields,
    version: Annotated[int | None, typer.Option(min=0, help="Only if it is this one.", show_default="any")] = None,
    api: options.CampaignUrl = options.CAMPAIGN_URL,
    key: options.CampaignKey = None,
    why: options.Why = "",
) -> None:
    """Change fields of a campaign: `set spring bid_micros=450000 ends=2027-06-01`; `ends=` takes it back to the default."""
    from offerrank.campaigns import change, client

    change(client(api, key), campaign, fields, version, why)


@campaign_app.command("pause")
def pause_campaign(
    campaign: options.SomeCampaign = None,
    advertiser: Annotated[str | None, typer.Option(help="All live campaigns of this advertiser.", show_default=False)] = None,
    all_: Annotated[bool, typer.Option("--all", help="All live campaigns of the market.")] = False,
    api: options.CampaignUrl = options.CAMPAIGN_URL,
    key: options.CampaignKey = None,
    why: options.Why = "",
) -> None:
    """Show a campaign nowhere, within two seconds, until it is resumed."""
    from offerrank.campaigns import client, switch

    switch(client(api, key), campaign, advertiser, all_, None, why)


@campaign_app.command("resume")
def resume_campaign(
    campaign: options.SomeCampaign = None,
    advertiser: Annotated[str | None, typer.Option(help="Campaigns of this advertiser.", show_default=False)] = None,
    all_: Annotated[bool, typer.Option("--all", help="Campaigns of the market.")] = False,
    version: Annotated[
        int | None, typer.Option(min=1, help="Those that this version paused; for several.", show_default=False)
    ] = None,
    api: options.CampaignUrl = options.CAMPAIGN_URL,
    key: options.CampaignKey = None,
    why: options.Why = "",
) -> None:
    """Show a paused campaign again, or those that `pause` paused together."""
    from offerrank.campaigns import client, switch

    if campaign is None and version is None:
        raise typer.BadParameter("say which version paused them: others may be paused for other reasons", param_hint="--version")
    switch(client(api, key), campaign, advertiser, all_, version or 1, why)


@campaign_app.command("archive")
def archive_campaign(
    campaign: options.CampaignId,
    api: options.CampaignUrl = options.CAMPAIGN_URL,
    key: options.CampaignKey = None,
    why: options.Why = "",
) -> None:
    """End a campaign: it is sold no more, what was clicked before is still charged, and it stays to be looked at."""
    from offerrank.campaigns import archive, client

    archive(client(api, key), campaign, why)


@campaign_app.command("bulk")
def bulk_edit(
    file: Annotated[Path, typer.Argument(help="Edits as JSON, or one a line.", show_default=False)],
    api: options.CampaignUrl = options.CAMPAIGN_URL,
    key: options.CampaignKey = None,
    why: options.Why = "",
) -> None:
    """Make up to 10,000 edits of advertisers, campaigns and offers, all or none."""
    from offerrank.campaigns import bulk, client

    bulk(client(api, key), file, why)


@campaign_app.command("log")
def campaign_log(
    campaign: options.SomeCampaign = None,
    api: options.CampaignUrl = options.CAMPAIGN_URL,
    key: options.CampaignKey = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="What this version changed.", show_default="the last changes")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="So many, newest first.")] = 20,
    json: options.Json = False,
) -> None:
    """Say who changed a campaign, or anything, when, why, and from what to what."""
    from offerrank.campaigns import client, show_log

    show_log(client(api, key), campaign, version, limit, json)


@data_app.command("check")
def check_data(
    market: options.Market,
    data: options.Data,
    json: options.Json = False,
) -> None:
    """Read a training log without training, and say what each column becomes. Exit code 2 if a row cannot be used."""
    from offerrank.data_check import check as run
    from offerrank.training import disk_errors_said

    with disk_errors_said():
        run(market, data, json)


@traffic_app.command("suspects")
def suspects(
    log_dir: options.Log = options.LOG_DIR,
    since: Annotated[str, typer.Option(help="How far to look back, such as 12h or 7d.")] = "24h",
    least_z: Annotated[float, typer.Option("--z", min=1, help="Least robust z-score of a suspect.")] = 6.0,
    least_clicks: Annotated[int, typer.Option("--clicks", min=1, help="Least clicks of a suspect in its hour.")] = 10,
    json: Annotated[bool, typer.Option("--json", help="Print every charge of theirs, one JSON object a line.")] = False,
) -> None:
    """Say who clicks far more often than its peers: keys, shoppers, addresses, offers, placements, by the hour."""
    from offerrank.suspects import run

    run(log_dir, options.seconds(since), least_z, least_clicks, as_json=json)


@keys_app.command("create")
def create_key(
    name: options.KeyName,
    keys: options.Keys,
    role: Annotated[str, typer.Option(help="publisher, server, viewer, manager or operator: what it may do.")] = "publisher",
    advertiser: Annotated[
        list[str], typer.Option(help="Whose campaigns a viewer's or manager's key is for; may be repeated.", show_default=False)
    ] = [],  # noqa: B006
    origin: Annotated[
        list[str],
        typer.Option(
            help="Pages that may send a publisher's key, such as https://shop.example; may be repeated.", show_default=False
        ),
    ] = [],  # noqa: B006
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.01, help="Most decisions a second, and as many reports of events.", show_default="publisher 100, else any"
        ),
    ] = None,
    expires: Annotated[str | None, typer.Option(help="Ends after such a time, for example 90d.", show_default="never")] = None,
) -> None:
    """Make a key and print it, this once; the file keeps its hash. A running gateway takes it within a second."""
    from offerrank.keys import PUBLISHER_PER_SECOND, create
    from store.key_records import Role

    if role not in list(Role):
        raise typer.BadParameter(f"expected {', '.join(Role)}, got {role!r}", param_hint="--role")
    if rate is None and role == Role.PUBLISHER:
        rate = PUBLISHER_PER_SECOND
    lives_s = options.seconds(expires) if expires else None
    typer.echo(create(keys, name, Role(role), tuple(origin), rate, lives_s, tuple(advertiser)))


@keys_app.command("list")
def list_keys(keys: options.Keys, json: options.Json = False) -> None:
    """Say which keys there are; the keys themselves are not kept."""
    from offerrank.keys import show

    show(keys, as_json=json)


@keys_app.command("revoke")
def revoke_key(name: options.KeyName, keys: options.Keys) -> None:
    """End a key. Its name stays taken, since it stands in the log."""
    from offerrank.keys import revoke

    revoke(keys, name)
    typer.echo(f"{name} is revoked")


@keys_app.command("rotate")
def rotate_key(
    name: options.KeyName,
    keys: options.Keys,
    overlap: Annotated[str, typer.Option(help="How long the old key goes on, such as 24h.")] = "24h",
) -> None:
    """Make another key of the same name and print it, this once; the old one ends after the overlap."""
    from offerrank.keys import rotate

    typer.echo(rotate(keys, name, options.seconds(overlap)))


@pipeline_app.command("compile")
def compile_pipeline(
    market: options.Market,
    out: Annotated[Path, typer.Option(help="The job, as .yaml or .json.")],
    to: Annotated[str, typer.Option(help="What will run it: kubeflow, which includes Vertex AI.")] = "kubeflow",
    log_dir: Annotated[Path, typer.Option("--log", help="Root of the Parquet archive.")] = Path("/var/lib/offerrank/log"),
    releases: Annotated[Path, typer.Option(help="Folder of releases.")] = Path("/var/lib/offerrank/releases"),
    work_dir: Annotated[Path, typer.Option(help="Rows and artifacts of one run at a time.")] = Path("/var/lib/offerrank/work"),
    image: Annotated[str | None, typer.Option(help="Image of every component.", show_default="offerrank:VERSION")] = None,
    infra_validator: Annotated[
        str | None,
        typer.Option(
            help="Load releases in the tensorflow/serving image, too: docker, kubernetes.",
            show_default="the market's training.infra_validator",
        ),
    ] = None,
    beam_runner: options.BeamRunner = None,
    beam_arg: options.BeamArgs = [],  # noqa: B006
) -> None:
    """Write a full training on the log as a job. All paths are those that its containers see."""
    import warnings
    from importlib.metadata import version as installed

    from pipelines.beam import beam_args

    if to != "kubeflow":
        raise typer.BadParameter(f"expected kubeflow, got {to!r}", param_hint="--to")
    platform: Literal["docker", "kubernetes"] | None = None
    if infra_validator is not None:
        if infra_validator not in ("docker", "kubernetes"):
            raise typer.BadParameter(f"expected docker or kubernetes, got {infra_validator!r}", param_hint="--infra-validator")
        platform = "docker" if infra_validator == "docker" else "kubernetes"
    arguments = beam_args(beam_runner, beam_arg)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TFX's own imports
        from pipelines.orchestration import compile_for_kubeflow, log_pipeline

    pipeline = log_pipeline(market.absolute(), log_dir, releases, work_dir, arguments, platform)
    compile_for_kubeflow(pipeline, image or f"offerrank:{installed('offerrank')}", out)


@app.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as installed

    typer.echo(f"offerrank {installed('offerrank')}, Python {sys.version.split()[0]}")


def _log() -> None:
    """What a process says of itself goes to standard error, with time and level."""
    import logging

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")


def _settings(kind: "type[Settings]", **given: Any) -> "Settings":
    from domain.refusals import read_settings

    return read_settings(kind, **given)
