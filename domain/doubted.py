"""New labels that the release in service does not believe."""

from enum import StrEnum


class Doubted(StrEnum):
    """What becomes of them while they last; those that are over are left out, but with `learn`."""

    REFUSE = "refuse"
    """Nothing is learned, and the next turn has them again."""
    LEAVE_OUT = "leave-out"
    """They are left out now and later."""
    LEARN = "learn"
    """Whatever is logged is learned, as after a change that is meant."""
