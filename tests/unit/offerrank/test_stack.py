"""Where things of a run are, and what `--release` means."""

from dataclasses import replace
from pathlib import Path

import pytest

from domain.clock import now_ms
from domain.errors import ContractError
from offerrank.keys import revoke
from offerrank.processes import Supervisor
from offerrank.stack import Plan, Stack, embedded_keys, releases_of
from store.key_records import Role, read_keys
from store.keyring import Keyring

MARKET = Path(__file__).parents[3] / "examples" / "confirmation" / "market.toml"


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


def test_all_ports_of_a_plan_differ(tmp_path: Path) -> None:
    plan = Plan.of(tmp_path / "market.toml", tmp_path / "run", port=28_080, monitor_port=28_080)
    ports = [plan.gateway_port, plan.monitor_port, plan.model_grpc_port, plan.model_rest_port, plan.redis_port]
    assert len({*ports, plan.operator_port, plan.campaign_port}) == 7


def test_two_runs_that_start_at_once_share_no_port(tmp_path: Path) -> None:
    plans = [Plan.of(tmp_path / "market.toml", tmp_path / str(n)) for n in range(2)]
    names = ("gateway", "monitor", "model_grpc", "model_rest", "redis", "operator")
    assert len({getattr(p, f"{name}_port") for p in plans for name in names}) == 12


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:28080"),
        ("0.0.0.0", "http://127.0.0.1:28080"),
        ("::", "http://127.0.0.1:28080"),
        ("192.0.2.7", "http://192.0.2.7:28080"),
        ("::1", "http://[::1]:28080"),
    ],
)
def test_the_gateway_is_asked_where_it_listens(tmp_path: Path, host: str, url: str) -> None:
    plan = replace(Plan.of(tmp_path / "market.toml", tmp_path / "run", host=host), gateway_port=28_080)
    assert plan.gateway_url == url
    assert plan.monitor_url.startswith("http://127.0.0.1:")


def test_whatever_the_host_only_the_gateway_listens_there(tmp_path: Path) -> None:
    with Supervisor(tmp_path / "run", print) as supervisor:
        plan = Plan.of(MARKET, tmp_path / "run", host="0.0.0.0")
        stack = Stack(plan, supervisor, {"OFFERRANK_PUBLIC_URL": "https://ads.example"})
        assert stack.environment["OFFERRANK_HOST"] == "127.0.0.1"


def test_keys_need_no_set_up_and_stay_what_they_were(tmp_path: Path) -> None:
    keys = embedded_keys(tmp_path)
    assert set(keys) == {Role.PUBLISHER, Role.SERVER, Role.OPERATOR}
    assert keys == {role: (tmp_path / f"{role}-key").read_text() for role in keys}
    assert all((tmp_path / name).stat().st_mode & 0o077 == 0 for name in ("server-key", "operator-key", "keys.jsonl"))
    assert keys[Role.SERVER] not in (tmp_path / "keys.jsonl").read_text()
    revoke(tmp_path / "keys.jsonl", "embedded-operator")
    assert embedded_keys(tmp_path) == keys
    ring = Keyring(read_keys(tmp_path / "keys.jsonl"))
    found = {role: ring.find(text, now_ms()) for role, text in keys.items()}
    assert found[Role.OPERATOR] is None  # revoked, and not made again by a restart
    assert found[Role.SERVER] is not None
    assert found[Role.PUBLISHER] is not None
    assert found[Role.PUBLISHER].allows_origin("http://localhost:3000")
    assert not found[Role.PUBLISHER].allows_origin("https://shop.example")
