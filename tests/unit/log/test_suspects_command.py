"""`offerrank traffic suspects` on an archive: a table for people, charges for the claw-back."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from log_entries import decision, event_fields, slot
from typer.testing import CliRunner

from domain.clock import now_ms
from domain.events import Decision
from offerrank.cli import app

Archive = Callable[[Iterable[Decision], Iterable[dict[bytes, bytes]]], Path]


def test_suspects_are_listed_with_what_they_cost_and_their_charges_one_a_line(archive: Archive) -> None:
    hour_ms = now_ms() // 3_600_000 * 3_600_000 - 3_600_000
    decisions, events = [], []
    for i in range(120):
        bot, at_ms = i < 30, hour_ms + i * 1000
        who = {"client": "bot" if bot else f"home{i}"}
        decisions.append(decision(f"d{i}", at_ms, slot(f"i{i}")))
        events.append(event_fields("impression", f"i{i}", f"d{i}", at_ms, **who))
        if bot or i % 20 == 0:
            events.append(event_fields("click", f"i{i}", f"d{i}", at_ms + 600, status="settled", charged_micros=250_000, **who))
    log_dir = archive(decisions, events)

    def suspects(*options: str) -> str:
        done = CliRunner().invoke(app, ["traffic", "suspects", "--log", str(log_dir), "--since", "30000d", *options])
        assert done.exit_code == 0, done.output
        return done.output

    _, *rows = suspects().splitlines()
    assert any("address" in row and row.split()[-2:] == ["7500000", "bot"] for row in rows)
    charges = [json.loads(line) for line in suspects("--json").splitlines()]
    assert {c["impression_id"] for c in charges if c["reason"] == "suspect_address"} == {f"i{i}" for i in range(30)}
    assert charges[0] | {"z": 0, "impression_id": "", "event_id": ""} == {
        **{"campaign_id": "tea", "day": hour_ms // 86_400_000, "impression_id": "", "type": "click", "event_id": ""},
        **{"charged_micros": 250_000, "reason": "suspect_address", "dimension": "address", "value": "bot", "z": 0},
        "hour": charges[0]["hour"],
    }
    assert suspects("--clicks", "1000") == "nobody clicks much more often than its peers\n"
