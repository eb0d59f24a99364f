"""Ports that are free where they will be listened on."""

import socket

import pytest

from domain.addresses import host_port
from offerrank.ports import port_from


def test_an_ipv6_address_stands_in_brackets():
    assert [host_port(h, 80) for h in ("127.0.0.1", "cache", "::1")] == ["127.0.0.1:80", "cache:80", "[::1]:80"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_taken_port_is_passed_over(host):
    with socket.create_server((host, 0)) as taken:
        port = taken.getsockname()[1]
        if port + 200 > 65_535:
            pytest.skip("too near the end")
        assert port_from(port, set(), host) > port


def test_whoever_listens_will_say_that_a_host_is_not_this_machine():
    assert port_from(20_000, set(), "192.0.2.1") == 20_000
