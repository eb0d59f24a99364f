"""What a release has learned from: whether a training may go on from it or must begin anew, and which rows may judge it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.market import Market
from models import release
from models.release import FeatureSpecs, FinalLabels, Origin, Release
from models.release_folder import newest_usable
from pipelines.examples import matures_s
from pipelines.splits import held_out


def release_to_continue(
    market: Market, releases: Path, now_ms: int, full_every_s: int, full_tried_ms: int | None = None
) -> tuple[Release | None, str]:
    """The newest release that is whole, if rows that it has not seen can bring it up to date; else none.

    All releases in the folder have passed their gates. Settings of the network may differ: what no longer fits starts fresh.

    Args:
      full_tried_ms: when a full training last began, whatever came of it. One that brought no release must not keep the
        incremental ones from theirs: the next is due as if it had.
    Returns:
      release or none, and a reason in words.
    """
    found = newest_usable(releases)
    if found.release is None:
        return None, str(found.passed_over[0]) if found.passed_over else "there is no release yet"
    newest = found.release
    made = newest.manifest
    name = f"release {newest.version}"
    if made.market != market.name or newest.specs != FeatureSpecs.of(market):
        return None, f"{name} was trained for other features, crosses or tasks than the market now has"
    if made.trained_through_ms is None or release.WEIGHTS not in made.files:
        return None, f"{name} was not trained on the log"
    if not labelled_alike(market, made):
        return None, f"{name} learned from labels by other windows, or by another training.delayed_labels"
    full_ms = made.full_ms or made.created_ms
    passed = [ms for ms in (full_ms, full_tried_ms) if ms is not None and ms <= now_ms]
    if not passed:
        return None, "the last full training is yet to come by this clock"
    age_s = (now_ms - max(passed)) / 1000
    if age_s >= full_every_s:
        return None, f"the last full training was {age_s / 3600:.1f} h ago"
    tried = "" if max(passed) == full_ms else f"; the full training {age_s / 3600:.1f} h ago brought no release"
    return newest, f"{name} goes on from what it has learned{tried}"


def release_in_service(market: Market, releases: Path) -> Release | None:
    """The newest release, if it can be asked about new rows, and says which rows are new to it; else none."""
    newest = newest_usable(releases, market).release
    if newest is None or newest.manifest.trained_through_ms is None or not labelled_alike(market, newest.manifest):
        return None
    return newest


def labelled_alike(market: Market, made: Origin) -> bool:
    """Whether a release learned from labels by the market's windows, so that it is known which ones."""
    if made.labels is None:
        return FinalLabels.of(market, 0) is None
    return made.labels.model_copy(update={"waiting": {}}) == FinalLabels.of(market, made.labels.as_of_ms)


def learned_through_ms(market: Market, made: Origin) -> dict[str, int]:
    """Label -> time of the newest decision whose label a release, or one that it goes back to, may have learned from.

    A label was not learned from if it was not final as of `made.labels`; of labels that enter before they are final, if the
    decision is later than all that was learned from.

    Returns:
      nothing of a release that was not made from the log: it does not say.
    """
    if made.trained_through_ms is None:
        return {}
    through = dict.fromkeys((t.label for t in market.tasks), made.trained_through_ms)
    if made.labels is None or len(market.tasks) > 2:  # the event log has two labels
        return through
    early = market.conversion_task.label if made.labels.importance and market.conversion_task else None
    windows = {label: 1000 * s for label, s in matures_s(market, made.labels).items() if label != early}
    final_ms = {label: made.labels.learned_ms(label) - window_ms for label, window_ms in windows.items()}
    return through | {label: min(ms, made.trained_through_ms) for label, ms in final_ms.items()}


def held_out_alike(market: Market, made: Origin) -> bool:
    """Whether the rows that a training of this market holds out by hash were held out from a release, too."""
    return made.held_out is not None and made.held_out == held_out(market.training.split, market.model.seed)


def seen(columns: Mapping[str, NDArray[Any]], through_ms: int | None) -> NDArray[np.bool_]:
    """[R], rows decided up to a time; none of those that do not say when, and none where there is no such time."""
    decided_ms = columns["time_ms"]
    return (decided_ms >= 0) & (decided_ms <= (-1 if through_ms is None else through_ms))
