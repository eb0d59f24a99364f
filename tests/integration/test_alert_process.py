"""`offerrank alert test`: which receivers take alerts, before there are any."""

import os
import subprocess
import sys
from pathlib import Path

import log_entries
from receivers import HttpReceiver


def tried(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    market = tmp_path / "market.toml"
    market.write_text(log_entries.MARKET_TOML)
    command = [sys.executable, "-m", "offerrank", "alert", "test", "--market", str(market)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | environment)


def test_each_receiver_that_is_set_is_tried_and_one_that_does_not_take_it_is_an_error(tmp_path: Path) -> None:
    with HttpReceiver() as hook, HttpReceiver(403) as slack:
        one = tried(tmp_path, OFFERRANK_ALERT_WEBHOOK_URL=hook.url)
        both = tried(tmp_path, OFFERRANK_ALERT_WEBHOOK_URL=hook.url, OFFERRANK_ALERT_SLACK_URL=f"{slack.url}/secret")
    assert (one.returncode, one.stdout) == (0, "webhook: accepted\n")
    assert (both.returncode, both.stdout) == (1, "webhook: accepted\nslack: not accepted, answered 403\n")
    assert "secret" not in both.stderr
    assert [body["change"] for body in hook.bodies()] == ["tested", "tested"]


def test_nobody_who_is_told_is_an_error_too(tmp_path: Path) -> None:
    nobody = tried(tmp_path)
    assert (nobody.returncode, nobody.stdout) == (2, "")
    assert nobody.stderr.startswith("offerrank: nobody is told of incidents")
