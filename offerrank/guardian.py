"""Ends the supervisor's children when the supervisor can no longer do so itself, as after kill -9.

A process of its own, standard library only, run as a script. It reads from a pipe whose other end the supervisor alone
holds: `+PGID` when a process group was started, `-PGID` when it has ended. When the pipe closes, for whatever reason, the
groups still on the list are ended in reverse order of their start: SIGTERM, some seconds, SIGKILL. After a clean stop the
list is empty. Unlike Linux's PDEATHSIG this also works on macOS and for binaries that know nothing of us, such as Redis.
"""

import os
import signal
import sys
import time


def main() -> None:
    """Watches standard input until it closes, then ends what is left."""
    grace_s = float(sys.argv[1])
    groups: list[int] = []
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.append(group)
        elif group in groups:
            groups.remove(group)
    for group in reversed(groups):
        end_group(group, grace_s)


def end_group(group: int, grace_s: float) -> None:
    """Ends a process group that need not be ours: asks, waits, insists."""
    deadline = time.monotonic() + grace_s
    if not _signal(group, signal.SIGTERM):
        return
    while time.monotonic() < deadline:
        time.sleep(0.05)
        if not _signal(group, 0):
            return
    _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """False if the group is gone."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
