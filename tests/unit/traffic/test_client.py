"""What an address says, and what of it is kept."""

import pytest

from serving.gateway.traffic.client import DAY_MS, Client, Pseudonyms, origin_of


@pytest.mark.parametrize(
    ("address", "network", "is_local", "is_private"),
    [
        ("203.0.113.7", "203.0.113.7", False, False),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64", False, False),
        ("::ffff:203.0.113.7", "203.0.113.7", False, False),
        ("10.0.0.1", "10.0.0.1", False, True),
        ("fe80::1%eth0", "fe80::/64", False, True),
        ("127.0.0.1", "127.0.0.1", True, True),
        ("::1", "::/64", True, True),
        ("", "", False, False),
        ("unknown", "", False, False),
        ("203.0.113.7, 10.0.0.1", "", False, False),
    ],
)
def test_origins(address: str, network: str, is_local: bool, is_private: bool) -> None:
    origin = origin_of(address)
    assert (origin.network, origin.is_local, origin.is_private) == (network, is_local, is_private)


def test_bytes_of_any_kind_are_a_user_agent() -> None:
    assert Client.of("", [(b"user-agent", b"\xff\xfe\x00")]).user_agent == "\xff\xfe\x00"
    assert Client.of("", []).user_agent == ""


def test_the_log_holds_stand_ins_for_addresses() -> None:
    ours = Pseudonyms("a secret of tests", "market")
    assert ours.of("203.0.113.7", 0) == ours.of("::ffff:203.0.113.7", DAY_MS - 1)
    assert ours.of("2001:db8::1", 0) == ours.of("2001:db8::2", 0)
    stand_ins = {
        ours.of("203.0.113.7", 0),
        ours.of("203.0.113.8", 0),
        ours.of("203.0.113.7", DAY_MS),
        Pseudonyms("another secret", "market").of("203.0.113.7", 0),
        Pseudonyms("a secret of tests", "other").of("203.0.113.7", 0),
    }
    assert len(stand_ins) == 5
    assert all(len(s) == 12 for s in stand_ins)
    assert ours.of("", 0) == ours.of("unknown", 0) == ""
