"""A file that is read again when it holds something else."""

import hashlib
from pathlib import Path


class FollowedFile:
    """Make one before the first reading of the file, so that a change amid that is not missed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()

    def has_changed(self) -> bool:
        """Whether it holds something else, or cannot be read for another reason, than when this was last asked."""
        before, self._seen = self._seen, self._stamp()
        return self._seen != before

    def _stamp(self) -> str:
        """Not of its times, size and inode: two writes within one tick of the file system's clock leave them all alike."""
        try:
            return hashlib.sha256(self._path.read_bytes()).hexdigest()
        except OSError as e:
            return type(e).__name__
