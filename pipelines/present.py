"""Which of the columns that a training asks for a file has."""

from pathlib import Path

from domain.errors import InvalidTrainingData


def present_columns(
    file: Path, names: list[str], columns: tuple[str, ...], optional: tuple[str, ...] = (), hint: str = ""
) -> list[str]:
    """The columns, and those of the optional ones that the file has.

    Args:
      names: that the file has.
      hint: what else may be wrong where columns are missing, for the message.
    Raises:
      InvalidTrainingData: a column is missing, or there twice.
    """
    missing = [c for c in columns if c not in names]
    if missing:
        raise InvalidTrainingData(str(file), f"columns {', '.join(map(repr, missing))}{hint}", names)
    present = list(dict.fromkeys([*columns, *(c for c in optional if c in names)]))
    twice = [c for c in present if names.count(c) > 1]
    if twice:
        raise InvalidTrainingData(str(file), f"column {twice[0]!r} once", f"{names.count(twice[0])} of them")
    return present
