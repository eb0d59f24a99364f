"""Faults of the simulation: what the gateway is told is wrong, and nothing else."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from domain.errors import OfferRankError
from features.market import load_market
from offerrank.cli import app
from simulation.faults import FAULTS, NONE, FaultFile, clear, inject
from simulation.shoppers import Purchase, Shoppers
from tests.conftest import REPOSITORY

MARKET = load_market(REPOSITORY / "examples" / "confirmation" / "market.toml")


@pytest.fixture(scope="module")
def purchases() -> list[Purchase]:
    shoppers = Shoppers(MARKET, seed=3)
    return [shoppers.purchase(i, 1000 * i) for i in range(400)]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_changes_some_of_what_is_told_and_nothing_of_who_buys(name: str, purchases: list[Purchase]) -> None:
    fault = FAULTS[name]
    told = [fault.told(p) for p in purchases]
    hit = [p for p, t in zip(purchases, told, strict=True) if (p.shopper, p.context) != (t.shopper, t.context)]
    hit += [p for p in purchases if fault.loses_beacons(p) or fault.is_robot(p)]
    assert 0 < len(hit) <= len(purchases)
    for p, t in zip(purchases, told, strict=True):
        assert (p.index, p.at_ms, p.shopper_key, p.segment, p.eagerness) == (
            t.index,
            t.at_ms,
            t.shopper_key,
            t.segment,
            t.eagerness,
        )


def test_each_hits_whom_it_says(purchases: list[Purchase]) -> None:
    for p in purchases:
        missing, cents = FAULTS["feature-missing"].told(p).context, FAULTS["unit-change"].told(p).context
        assert ("amount" not in missing) == (p.shopper["device"] == "mobile")
        assert cents["amount"] == p.context["amount"] * (100 if p.shopper["country"] == "NL" else 1)
        swapped = FAULTS["swapped-columns"].told(p).context
        assert (swapped["payment_type"], swapped["basket_category"]) == (p.context["basket_category"], p.context["payment_type"])
    told = [FAULTS["new-category"].told(p).context["payment_type"] for p in purchases]
    assert told.count("crypto") == 80  # a fifth
    assert sum(map(FAULTS["beacons-lost"].loses_beacons, purchases)) == 320
    assert sum(map(FAULTS["robots"].is_robot, purchases)) == 80


def test_a_fault_begins_and_ends_while_shoppers_run(tmp_path: Path) -> None:
    file = FaultFile(tmp_path / "fault")
    assert file.fault is NONE
    inject(tmp_path / "fault", "robots")
    assert file.fault is FAULTS["robots"]
    (tmp_path / "fault").write_bytes(b"\xff nonsense")
    assert file.fault is NONE
    clear(tmp_path / "fault")
    clear(tmp_path / "fault")
    assert file.fault is NONE
    assert FaultFile().fault is NONE


def test_what_cannot_be_broken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OfferRankError, match=r"fault: expected one of feature-missing, .*, got 'fire'"):
        inject(tmp_path / "fault", "fire")
    with pytest.raises(OfferRankError, match="cannot be written: No such file or directory"):
        inject(tmp_path / "no" / "fault", "robots")


def test_the_command_needs_a_demo_that_runs(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["fault", "inject", "robots", "--dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "no demo runs there; `make demo` starts one" in result.output
    (tmp_path / "demo-1").mkdir()
    (tmp_path / "demo-1" / "pid").write_text("1")  # of a process that lives
    result = CliRunner().invoke(app, ["fault", "inject", "robots", "--dir", str(tmp_path)])
    assert (result.exit_code, (tmp_path / "demo-1" / "fault").read_text()) == (0, "robots\n")
    assert CliRunner().invoke(app, ["fault", "clear", "--dir", str(tmp_path)]).exit_code == 0
    assert not (tmp_path / "demo-1" / "fault").exists()
    assert "robots" in CliRunner().invoke(app, ["fault", "list"]).output
