import io

from rich.console import Console

from models.progress import FitProgress, Pace
from pipelines.console import console_listener, describe
from pipelines.progress import Event, StepFinished, StepStarted, listening, tell

EVENTS: list[Event] = [
    StepStarted("Trainer", 9, 14),
    FitProgress("ranker", epoch=1, epochs=2, rows=512, total=1024, rows_per_s=None, loss=0.7),
    FitProgress("ranker", epoch=1, epochs=2, rows=1024, total=1024, rows_per_s=2000.0, loss=0.6543),
    StepFinished("Trainer", 3.25),
]


def shown(terminal: bool) -> str:
    out = io.StringIO()
    with console_listener(Console(file=out, force_terminal=terminal, width=120)) as listener, listening(listener):
        for event in EVENTS:
            tell(event)
    return out.getvalue()


def test_in_a_log_there_is_a_line_per_epoch_and_step() -> None:
    lines = shown(terminal=False).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "ranker: epoch 1/2, loss 0.6543, 2,000 examples/s, at most 1 s left",
        "[ 9/14] Trainer 3.2 s",
    ]


def test_on_a_terminal_there_are_bars() -> None:
    drawn = shown(terminal=True)
    assert "Trainer" in drawn
    assert "epoch 1/2, loss 0.6543, 2,000 examples/s, at most 1 s left" in drawn
    assert "━" in drawn


def test_without_a_listener_nothing_happens() -> None:
    for event in EVENTS:
        tell(event)


def test_only_the_run_at_hand_is_heard() -> None:
    heard: list[Event] = []
    with listening(heard.append):
        tell(EVENTS[0])
    tell(EVENTS[-1])
    assert heard == EVENTS[:1]


def test_no_time_is_told_before_it_means_something() -> None:
    assert describe(EVENTS[1]) == "ranker: epoch 1/2, loss 0.7000"  # type: ignore[arg-type]


def test_the_pace_leaves_out_the_first_batch_and_what_is_between_epochs() -> None:
    pace, told = Pace(), []
    # 30 s to build the graph; then a batch of 10 rows each second; 9 s of validation.
    for rows, now_s in ((10, 30.0), (20, 31.0), (30, 32.0), (40, 33.0), (10, 43.0), (20, 44.0), (30, 45.0)):
        pace.batch_ended(rows, now_s)
        told.append(pace.rows_per_s)
    assert told == [None, None, 10, 10, 10, 10, 10]
