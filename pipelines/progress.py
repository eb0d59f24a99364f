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

_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


def tell(event: Event) -> None:
    """Tells whoever listens to this run."""
    for listener in _listeners.get():
        listener(event)


@contextmanager
def listening(*listeners: Listener) -> Iterator[None]:
    """Sends what is told meanwhile to `listeners`."""
    token = _listeners.set(listeners)
    try:
        yield
    finally:
        _listeners.reset(token)
