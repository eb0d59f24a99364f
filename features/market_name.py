"""A market's name alone: a health check cannot wait for a catalogue of 100,000 offers. Standard library only."""

import tomllib
from itertools import takewhile
from pathlib import Path


def market_name(path: Path) -> str:
    """The name that a market.toml begins with; what follows is neither read nor checked.

    Raises:
      OSError, ValueError: the file cannot be read, or has no name.
    """
    with path.open(encoding="utf-8-sig") as file:
        head = "".join(takewhile(lambda line: not line.lstrip().startswith("["), file))  # plain keys stand before all tables
    try:
        name = tomllib.loads(head).get("name")
    except tomllib.TOMLDecodeError:  # the bracket stood within a value
        name = tomllib.loads(path.read_text(encoding="utf-8-sig")).get("name")
    if not isinstance(name, str):
        raise ValueError(f"{path}: name: expected a string, got {name!r}")
    return name
