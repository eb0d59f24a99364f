"""Where things of a run are, and what `--release` means."""

import socket
from pathlib import Path

import pytest

from domain.errors import ContractError
from offerrank.ports import port_from
from offerrank.stack import Plan, releases_of


def release(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    return folder


def test_a_folder_of_releases_is_followed_as_it_is(tmp_path: Path) -> None:
    release(tmp_path / "releases" / "100")
    assert releases_of(tmp_path / "releases", tmp_path / "run") == tmp_path / "releases"


def test_one_release_is_served_alone(tmp_path: Path) -> None:
    release(tmp_path / "releases" / "100")
    release(tmp_path / "releases" / "200")
    base = releases_of(tmp_path / "releases" / "100", tmp_path / "run")
    assert [p.name for p in base.iterdir()] == ["100"]
    assert (base / "100" / "saved_model.pb").exists()
    assert releases_of(tmp_path / "releases" / "100", tmp_path / "run") == base  # started again on the same folder


def test_another_release_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    old, new = release(tmp_path / "releases" / "100"), release(tmp_path / "releases" / "200")
    releases_of(new, tmp_path / "run")
    base = releases_of(old, tmp_path / "run")
    assert [p.name for p in base.iterdir()] == ["100"]


def test_what_is_no_release_is_said_with_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no such folder"):
        releases_of(tmp_path / "nowhere", tmp_path / "run")
    with pytest.raises(ContractError, match="found nothing"):
        releases_of(tmp_path, tmp_path / "run")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ContractError, match=r"found \['notes.txt'\]"):
        releases_of(tmp_path, tmp_path / "run")


def test_a_taken_port_is_passed_over() -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        taken = s.getsockname()[1]
        assert port_from(taken, set()) > taken
        assert port_from(taken, {taken + 1}) > taken + 1


def test_all_ports_of_a_plan_differ(tmp_path: Path) -> None:
    plan = Plan.of(tmp_path / "market.toml", tmp_path / "run", port=28_080, monitor_port=28_080)
    ports = [plan.gateway_port, plan.monitor_port, plan.model_grpc_port, plan.model_rest_port, plan.redis_port]
    assert len(set(ports)) == 5
