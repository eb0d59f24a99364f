"""Says in one line whether this Python can hold OfferRank; run by `make install` before anything is installed."""

import platform
import sys


def problem(version: tuple[int, int], system: str, machine: str, glibc: tuple[int, int] | None) -> str | None:
    """Why OfferRank cannot be installed here and what to do, or None.

    Args:
      glibc: version of the C library on Linux; None elsewhere.
    """
    got = f"Python {version[0]}.{version[1]}"
    if not (3, 11) <= version < (3, 14):
        return f"OfferRank needs Python 3.11, 3.12 or 3.13, this is {got}: make PYTHON=/path/to/python3.11"
    if (system, machine) not in {("Linux", "x86_64"), ("Darwin", "arm64")}:
        return f"OfferRank's lock file covers Linux x86-64 and macOS arm64, this is {system} {machine}"
    if system == "Linux" and version >= (3, 12) and glibc is not None and glibc < (2, 39):
        return f"TFX for {got} needs glibc 2.39 or newer, this is {glibc[0]}.{glibc[1]}: make PYTHON=python3.11"
    return None


def _glibc() -> tuple[int, int] | None:
    name, version = platform.libc_ver()
    if name != "glibc":
        return None
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


if __name__ == "__main__":
    sys.exit(problem(sys.version_info[:2], platform.system(), platform.machine(), _glibc()))
