"""Lists of networks: what is in them, and how a file of them is followed."""

import ipaddress
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import OfferRankError
from serving.gateway.traffic.networks import NetworkFile, NetworkSet

LOW = ipaddress.ip_network("10.0.0.0/24")
PREFIXES = st.tuples(st.integers(0, 255), st.integers(24, 32)).map(
    lambda p: ipaddress.ip_network(f"10.0.0.{p[0]}/{p[1]}", strict=False)
)


@given(st.lists(PREFIXES))
def test_an_address_is_in_the_set_if_it_is_in_one_of_the_networks(networks: list[ipaddress.IPv4Network]) -> None:
    found = NetworkSet(networks)
    for address in (*LOW, ipaddress.ip_address("9.255.255.255"), ipaddress.ip_address("10.0.1.0")):
        assert (address in found) == any(address in n for n in networks)


def test_families_are_apart() -> None:
    found = NetworkSet.parse("::/0", "all of IPv6")
    assert ipaddress.ip_address("2001:db8::1") in found
    assert ipaddress.ip_address("192.0.2.1") not in found
    assert ipaddress.ip_address("::1") not in NetworkSet()


def test_a_line_is_a_network_an_address_or_a_comment() -> None:
    found = NetworkSet.parse("# clouds\n\n 192.0.2.0/24  # one\n198.51.100.7\n2001:db8::1/32\n", "list")
    for inside in ("192.0.2.9", "198.51.100.7", "2001:db8:ffff::"):
        assert ipaddress.ip_address(inside) in found
    assert ipaddress.ip_address("198.51.100.8") not in found


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("192.0.2.0/24\n192.0.2.0/33\n", ":2: expected a network such as 192.0.2.0/24 or 2001:db8::/32, got '192.0.2.0/33'"),
        ("amazon", ":1: expected a network such as 192.0.2.0/24 or 2001:db8::/32, got 'amazon'"),
        (None, ": cannot be read: No such file or directory"),
        (b"\xff\xfe", ": is not UTF-8 text"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_at_the_start(tmp_path: Path, content: str | bytes | None, said: str) -> None:
    path = tmp_path / "list"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(OfferRankError) as caught:
        NetworkFile(path)
    assert str(caught.value) == f"{path}{said}"


def test_a_list_is_followed_and_a_bad_one_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "list"

    def write(content: str) -> None:
        beside = tmp_path / "new"
        beside.write_text(content)
        os.replace(beside, path)

    write("\ufeff192.0.2.0/24")  # Windows' editors begin with a byte order mark
    followed = NetworkFile(path)
    first, second = ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("198.51.100.1")
    followed.refresh()
    assert first in followed.networks
    write("198.51.100.0/24")
    followed.refresh()
    assert first not in followed.networks
    assert second in followed.networks
    write("nonsense")
    with caplog.at_level(logging.ERROR):
        followed.refresh()
        followed.refresh()
    assert second in followed.networks
    (said,) = [r.message for r in caplog.records]
    assert said.startswith(f"{path}:1: expected a network such as")
    assert said.endswith("got 'nonsense': what was read before goes on to be used")
    path.unlink()
    followed.refresh()
    assert second in followed.networks
