"""Whether a training may start from the newest release, or must begin anew."""

from pathlib import Path

from features.market import Market
from models import release
from models.release import FeatureSpecs, FinalLabels, Release
from models.release_folder import newest_usable


def release_to_continue(market: Market, releases: Path, now_ms: int, full_every_s: int) -> tuple[Release | None, str]:
    """The newest release that is whole, if rows that it has not seen can bring it up to date; else none.

    All releases in the folder have passed their gates. Settings of the network may differ: what no longer fits starts fresh.

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
    as_of_ms = made.labels.as_of_ms if made.labels else 0
    if made.labels != FinalLabels.of(market, as_of_ms):
        return None, f"{name} learned from labels by other windows, or by another training.delayed_labels"
    age_s = (now_ms - (made.full_ms or made.created_ms)) / 1000
    if age_s >= full_every_s:
        return None, f"the last full training was {age_s / 3600:.1f} h ago"
    return newest, f"{name} goes on from what it has learned"
