"""What a run tells while it runs. TFX starts our steps by name, so the listener travels in a context variable."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from models.progress import FitProgress


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step of the pipeline begins."""

    name: str
    number: int
    of: int


@dataclass(frozen=True, slots=True)
class StepFinished:
    """A step of the pipeline ended well."""

    name: str
    seconds: float


Event = StepStarted | StepFinished | FitProgress
Listener = Callable[[Event], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def tell(event: Event) -> None:
    """Tells whoever listens to this run."""
    listener = _listener.get()
    if listener is not None:
        listener(event)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Sends what is told meanwhile to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
