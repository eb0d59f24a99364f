"""Ports that are free where they will be listened on, kept from other runs, and listened on by the right process."""

import os
import socket
import subprocess
import sys

import pytest

from domain.addresses import host_port
from domain.errors import Unavailable
from offerrank.ports import PortsKept, listens


def test_an_ipv6_address_stands_in_brackets():
    assert [host_port(h, 80) for h in ("127.0.0.1", "cache", "::1")] == ["127.0.0.1:80", "cache:80", "[::1]:80"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_taken_port_is_passed_over(host):
    with socket.create_server((host, 0)) as taken:
        port = taken.getsockname()[1]
        if port + 200 > 65_535:
            pytest.skip("too near the end")
        assert PortsKept().take(port, host) > port


def test_whoever_listens_will_say_that_a_host_is_not_this_machine():
    assert PortsKept().take(20_000, "192.0.2.1") == 20_000


def test_a_port_is_another_run_s_only_once_it_is_let_go():
    ours, theirs = PortsKept(), PortsKept()
    port = ours.take(20_100)
    assert ours.take(port) == port + 1
    assert theirs.take(port) == port + 2
    del ours
    assert PortsKept().take(port) == port


def test_a_process_that_is_killed_keeps_no_port():
    code = "from offerrank.ports import PortsKept; kept = PortsKept(); print(kept.take(20_200), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout
        port = int(other.stdout.readline())
        assert PortsKept().take(port) > port
        other.kill()
    assert PortsKept().take(port) == port


def test_all_taken_says_which():
    with pytest.raises(Unavailable, match="no free port from 65536"):
        PortsKept().take(65_536)


def test_who_listens_is_told_apart():
    with socket.create_server(("127.0.0.1", 0)) as server, subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as child:
        port = server.getsockname()[1]
        assert listens(os.getpid(), port)
        assert not listens(child.pid, port)
        assert not listens(os.getpid(), port + 1)
        child.communicate(b"\n")
        assert not listens(child.pid, port)
