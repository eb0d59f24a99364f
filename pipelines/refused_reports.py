"""Reports of models that were refused, beside the releases: a work folder may be gone by the time somebody asks why."""

import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

log = logging.getLogger("offerrank.runs")
FOLDER = "refused"
KEPT = 50


def keep_report(releases: Path, run: str, report: Path) -> None:
    """Copies a run's report to `releases/refused/<run>.html`, and keeps the newest 50. One that cannot be kept ends nothing.

    A run that is refused makes no folder of releases where there is none.
    """
    if not releases.is_dir():
        return
    folder = releases / FOLDER
    temporary = folder / f".{run}.{os.getpid()}"
    try:
        folder.mkdir(exist_ok=True)
        shutil.copyfile(report, temporary)
        temporary.replace(folder / f"{run}.html")
        for old in sorted(folder.glob("*.html"))[:-KEPT]:  # a run's name begins with its time
            old.unlink(missing_ok=True)
    except OSError as e:
        log.warning("the report of the refused model is not kept: %s", e)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
