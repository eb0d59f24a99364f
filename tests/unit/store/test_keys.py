"""The keys file: what is kept of a key, and that it can be changed at any time, by several at once, and be damaged."""

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from domain.clock import now_ms
from domain.errors import InvalidKeys
from offerrank.keys import create, revoke, rotate, show
from store.key_records import Role, new_text, read_keys, to_origin
from store.keyring import KeyFile, Keyring

LATER_MS = 90_000_000


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys" / "keys.jsonl"


def make(path, name="shop", role=Role.SERVER, origins=(), per_second=None, lives_s=None):
    return create(path, name, role, origins, per_second, lives_s)


def find(path, text, after_ms=0):
    return Keyring(read_keys(path)).find(text, now_ms() + after_ms)


def test_a_key_says_its_role_and_its_file_does_not_say_the_key(path):
    text = make(path, role=Role.PUBLISHER, origins=("https://Shop.example:443/",), per_second=50)
    assert text.startswith("or_publisher_")
    assert len(text) == len("or_publisher_") + 43
    assert text[13:] not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = find(path, text)
    assert (key.name, key.role, key.origins, key.per_second) == ("shop", "publisher", {"https://shop.example"}, 50)
    assert find(path, text[:-1]) is None


def test_a_key_that_expires_ends_by_itself(path):
    text = make(path, lives_s=60)
    assert find(path, text, 59_000) is not None
    assert find(path, text, 61_000) is None


def test_a_revoked_key_ends_at_once_and_its_name_stays_taken(path):
    text, other = make(path), make(path, "other")
    revoke(path, "shop")
    assert find(path, text) is None
    assert find(path, other) is not None
    with pytest.raises(InvalidKeys, match="a name that no other key has or had, got 'shop'"):
        make(path)
    with pytest.raises(InvalidKeys, match="the name of a key that has not ended, got 'shop'"):
        revoke(path, "shop")


def test_a_rotated_key_has_a_successor_of_the_same_kind_and_ends_after_the_overlap(path):
    old = make(path, role=Role.PUBLISHER, origins=("https://shop.example",), per_second=7)
    new = rotate(path, "shop", 3600)
    before, after = find(path, old), find(path, new)
    assert (before.name, before.origins, before.per_second) == (after.name, after.origins, after.per_second)
    assert find(path, old, 3_601_000) is None
    assert find(path, new, LATER_MS) is not None
    # Once more, within the overlap: nothing lives longer for it.
    newest = rotate(path, "shop", LATER_MS)
    assert find(path, old, 3_601_000) is None
    revoke(path, "shop")
    assert [find(path, text) for text in (old, new, newest)] == [None] * 3


def test_several_at_once_lose_no_key(path):
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda i: make(path, f"key-{i}"), range(24)))
    assert all(find(path, text) for text in texts)
    assert [p.name for p in path.parent.iterdir()] == ["keys.jsonl"]


def test_the_mode_of_the_file_is_kept(path):
    make(path)
    path.chmod(0o640)
    make(path, "other")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_list_shows_what_is_kept_and_no_key(path, capsys):
    text = make(path, role=Role.PUBLISHER, origins=("https://shop.example",), per_second=50, lives_s=86_400)
    make(path, "old")
    revoke(path, "old")
    show(path, as_json=False)
    shop, old = capsys.readouterr().out.splitlines()
    assert shop.startswith("shop: publisher, created 20")
    assert shop.endswith("Z, 50 a second, https://shop.example")
    assert ", ended 20" in old
    show(path, as_json=True)
    assert text[13:] not in capsys.readouterr().out


def test_an_origin_is_taken_as_browsers_send_it():
    assert to_origin("HTTPS://Shop.Example:443/") == "https://shop.example"
    assert to_origin("http://shop.example:80") == "http://shop.example"
    assert to_origin("http://localhost:*") == "http://localhost:*"
    assert to_origin("http://[::1]:8080") == "http://[::1]:8080"
    for wrong in (
        "*",
        "null",
        "shop.example",
        "https://shop.example/page",
        "https://*.example",
        "https://",
        "ftp://a.example",
        "https://a b",
    ):
        with pytest.raises(ValueError, match="expected an origin"):
            to_origin(wrong)


# A running gateway.


def test_a_gateway_takes_new_keys_and_drops_revoked_ones(path):
    first = make(path)
    keys = KeyFile(path)
    second = make(path, "second")
    assert keys.ring.find(second, now_ms()) is None
    keys.refresh()
    assert keys.ring.find(second, now_ms()) is not None
    revoke(path, "shop")
    keys.refresh()
    assert keys.ring.find(first, now_ms()) is None


def test_a_gateway_may_start_before_the_first_key(path):
    keys = KeyFile(path)
    assert len(keys.ring) == 0
    text = make(path)
    keys.refresh()
    assert keys.ring.find(text, now_ms()) is not None


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"{}\n"),
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(b"\xff\xfe\x00"),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["another-shape", "cut", "not-text", "gone", "a-folder"],
)
def test_a_file_that_cannot_be_used_leaves_the_keys_as_they_were_and_is_said_once(path, damage, caplog):
    text = make(path)
    good = path.read_bytes()
    keys = KeyFile(path)
    damage(path)
    for _ in range(3):
        keys.refresh()
    assert keys.ring.find(text, now_ms()) is not None
    assert [r.levelname for r in caplog.records] == ["ERROR"]
    if path.is_dir():
        path.rmdir()
    path.write_bytes(good)
    revoke(path, "shop")
    keys.refresh()
    assert keys.ring.find(text, now_ms()) is None


def test_a_damaged_file_names_its_line_and_is_not_written_over(path):
    make(path)
    damaged = path.read_bytes() + b'{"name": "x"}\n'
    path.write_bytes(damaged)
    with pytest.raises(InvalidKeys, match=r"keys\.jsonl, line 2: role: expected Field required"):
        make(path, "other")
    assert path.read_bytes() == damaged


def test_of_two_keys_none_is_like_the_other():
    assert len({new_text(role) for role in Role for _ in range(100)}) == 100 * len(Role)


def test_a_role_of_shops_includes_those_before_it():
    of_shops = (Role.PUBLISHER, Role.SERVER, Role.OPERATOR)
    assert [[a.includes(b) for b in of_shops] for a in of_shops] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_times_of_a_record_have_their_zone(path):
    make(path, lives_s=60)
    (record,) = read_keys(path)
    assert record.expires - record.created == timedelta(seconds=60)
    assert abs(datetime.now(UTC) - record.created) < timedelta(minutes=5)


def test_a_key_has_ended_within_the_millisecond_in_which_it_was_revoked(path):
    text = make(path)
    revoke(path, "shop")
    (record,) = read_keys(path)
    assert Keyring([record]).find(text, int(record.expires.timestamp() * 1000)) is None


def test_a_managers_key_says_whose_campaigns_it_is_for_and_a_rotated_one_too(path):
    old = create(path, "max", Role.MANAGER, advertisers=("acme", "zeta"))
    assert find(path, old).advertisers == {"acme", "zeta"}
    assert find(path, rotate(path, "max", 60)).advertisers == {"acme", "zeta"}
    assert find(path, create(path, "eve", Role.VIEWER)).advertisers == frozenset()
    with pytest.raises(InvalidKeys, match="expected at least one"):
        create(path, "all", Role.MANAGER)
    with pytest.raises(InvalidKeys, match="a server's key is not for some advertisers"):
        create(path, "other", Role.SERVER, advertisers=("acme",))


def test_a_file_of_keys_says_nothing_that_older_processes_do_not_know(path):
    make(path, role=Role.PUBLISHER)
    assert "advertisers" not in path.read_text()


@pytest.mark.parametrize("role", list(Role))
def test_an_operator_may_do_everything_and_those_of_shops_and_of_campaigns_nothing_of_each_other(role):
    assert Role.OPERATOR.includes(role)
    of_shops, of_campaigns = {Role.PUBLISHER, Role.SERVER}, {Role.VIEWER, Role.MANAGER}
    for side, other in ((of_shops, of_campaigns), (of_campaigns, of_shops)):
        if role in side:
            assert not any(role.includes(r) for r in (*other, Role.OPERATOR))
