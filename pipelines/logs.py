"""Sends the flood of TFX, Beam and absl logs into a file, and hears from it which component runs."""

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.progress import StepFinished, StepStarted, tell


class _Components(logging.Handler):
    """LocalDagRunner offers no hook, but logs both ends of every component."""

    def __init__(self, first: int, of: int) -> None:
        super().__init__(logging.INFO)
        self.seconds: dict[str, float] = {}
        self._number, self._of, self._began = first, of, 0.0

    def emit(self, record: logging.LogRecord) -> None:
        if not isinstance(record.args, tuple) or len(record.args) != 1:
            return
        name = str(record.args[0])
        if record.msg == "Component %s is running.":
            self._began = time.monotonic()
            tell(StepStarted(name, self._number, self._of))
            self._number += 1
        elif record.msg == "Component %s is finished.":
            self.seconds[name] = time.monotonic() - self._began
            tell(StepFinished(name, self.seconds[name]))


@contextmanager
def logs_to(path: Path) -> Iterator[None]:
    """Logs and warnings meanwhile go to a file and nowhere else."""
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    file = logging.FileHandler(path, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root.handlers[:] = [file]
    root.setLevel(logging.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(True)
        try:
            yield
        finally:
            logging.captureWarnings(False)
            root.handlers[:] = kept
            root.setLevel(level)
            file.close()


@contextmanager
def component_times(first: int, of: int) -> Iterator[dict[str, float]]:
    """Seconds by component, filled while a pipeline runs; tells each start and end.

    Args:
      first, of: number of the first component, and of the last step, for display.
    """
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.INFO)
    heard = _Components(first, of)
    logger = logging.getLogger("absl")
    # Absl's own handler writes to standard error.
    kept, propagates = logger.handlers[:], logger.propagate
    logger.handlers[:], logger.propagate = [heard], True
    try:
        yield heard.seconds
    finally:
        logger.handlers[:], logger.propagate = kept, propagates
