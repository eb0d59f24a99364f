"""Decides once more what was decided: by the log, the release and the catalogue of then, through the gateway's own code."""

from typing import Final

UNKNOWN: Final = 3
"""Exit code of `python -m serving.replay` where there is no such decision."""
GONE: Final = 4
"""Where what it was made with is gone, or it was logged before replays were."""
