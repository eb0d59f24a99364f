"""The market files that decisions were made under, kept beside their log: `<log_dir>/markets/<name>.toml`."""

import os
from pathlib import Path

from features.market import market_digest

FOLDER = "markets"
DIGITS = 12


def name_of(path: Path) -> str:
    """Stands for a market file, whatever its own name: equal ones have the same. It must be readable."""
    return market_digest(path).hex()[:DIGITS]


def keep(path: Path, log_dir: Path) -> None:
    """Keeps a copy, once; raises OSError."""
    kept = kept_path(log_dir, name_of(path))
    if kept.exists():
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    temporary = kept.with_name(f".{kept.name}.{os.getpid()}")
    try:
        temporary.write_bytes(path.read_bytes())
        temporary.replace(kept)
    finally:
        temporary.unlink(missing_ok=True)


def kept_path(log_dir: Path, name: str) -> Path:
    """Where that of a name is, if it is kept."""
    return log_dir / FOLDER / f"{name}.toml"
