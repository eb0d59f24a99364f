"""A Redis URL as people write it, and what is said of one that is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from store import Address, RedisUrl


@pytest.mark.parametrize(
    ("url", "nodes", "db"),
    [
        ("redis://127.0.0.1:6379/0", [("127.0.0.1", 6379)], 0),
        ("redis://cache", [("cache", 6379)], 0),
        ("redis://cache:7000/3", [("cache", 7000)], 3),
        ("localhost:6379", [("localhost", 6379)], 0),
        ("localhost", [("localhost", 6379)], 0),
        ("redis://[::1]:6380/1", [("::1", 6380)], 1),
        ("redis://[2001:db8::7]", [("2001:db8::7", 6379)], 0),
        ("rediss://cache", [("cache", 6379)], 0),
        ("redis+sentinel://a,b:26380/offers/2", [("a", 26379), ("b", 26380)], 2),
        ("redis+cluster://a:7000,[::1]:7001,c", [("a", 7000), ("::1", 7001), ("c", 6379)], 0),
    ],
)
def test_hosts_and_ports(url, nodes, db):
    address = Address.parse(url)
    assert (list(address.nodes), address.db) == (nodes, db)
    assert (address.username, address.password) == (None, None)


def test_kinds_and_names():
    assert Address.parse("redis://a").kind == "server"
    sentinel = Address.parse("redis+sentinel://a,b/offers")
    assert (sentinel.kind, sentinel.name) == ("sentinel", "offers")
    assert Address.parse("redis+cluster://a,b").kind == "cluster"
    assert [
        Address.parse(f"redis{s}://a/x" if "sentinel" in s else f"redis{s}://a").tls for s in ("s", "s+sentinel", "+cluster")
    ] == [
        True,
        True,
        False,
    ]
    assert Address.parse("unix:///run/redis.sock").path == "/run/redis.sock"


@pytest.mark.parametrize(
    ("userinfo", "username", "password"),
    [
        (":secret", None, "secret"),
        ("shop:secret", "shop", "secret"),
        (":pa#ss", None, "pa#ss"),
        (":a/b?c#d@e:f", None, "a/b?c#d@e:f"),
        (":pa%23ss", None, "pa#ss"),
        (":100%", None, "100%"),
        ("us%40er:p", "us@er", "p"),
    ],
)
def test_a_password_may_hold_any_character(userinfo, username, password):
    address = Address.parse(f"redis://{userinfo}@cache:7000/1")
    assert (address.username, address.password) == (username, password)
    assert (address.nodes, address.db) == ((("cache", 7000),), 1)


@given(st.text(st.characters(exclude_characters="%", exclude_categories=["Cs"]), min_size=1))
def test_any_password_without_percent_signs_is_taken_as_it_stands(password):
    assert Address.parse(f"redis://:{password}@cache").password == password


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://cache", "expected redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]"),
        ("redis+proxy://cache", "expected redis://"),
        ("", "expected a host, not ''"),
        ("redis://", "expected a host, not ''"),
        ("redis://::1:6379", "expected an IPv6 address in brackets"),
        ("::1", "expected an IPv6 address in brackets"),
        ("redis://[::1:6379", "expected an IPv6 address in brackets"),
        ("redis://cache:port", "expected a port from 1 to 65535, not 'port'"),
        ("redis://cache:0", "expected a port from 1 to 65535, not '0'"),
        ("redis://cache:70000", "expected a port from 1 to 65535, not '70000'"),
        ("redis://cache/zero", "expected the number of a database after the /, not 'zero'"),
        ("redis://cache#1", "expected a host, not 'cache#1'"),
        ("redis://a,b", "expected one host"),
        ("redis://secret@cache", "expected USER:PASSWORD or :PASSWORD before the @"),
        ("redis+sentinel://a,b", "expected the name that the Sentinels know the server by"),
        ("redis+cluster://a,b/1", "expected no database number"),
        ("redis://cache?timeout=3", "expected no options but"),
        ("unix://cache", "expected unix:///PATH"),
    ],
)
def test_anything_else_is_refused_in_one_line(url, says):
    with pytest.raises(ValueError, match="expected") as error:
        Address.parse(url)
    assert str(error.value).startswith(says)
    assert "\n" not in str(error.value)


def test_no_password_is_ever_shown():
    for url in ("redis://:hush@cache:port", "redis://shop:hush@[::1", "redis://hush@cache", "redis://:hush@a,b"):
        with pytest.raises(ValueError, match="got") as error:
            Address.parse(url)
        assert "hush" not in str(error.value)
    whole = Address.parse("redis://shop:hush@cache/1?ssl_keyfile=x")
    assert "hush" not in repr(whole)
    assert str(whole) == "redis://cache:6379/1"
    assert str(Address.parse("rediss+sentinel://:hush@[::1],b/offers")) == "rediss+sentinel://[::1]:26379,b:26379/offers/0"


def test_settings_refuse_a_wrong_one():
    class Settings(BaseModel):
        redis_url: RedisUrl

    assert Settings(redis_url="localhost:6379").redis_url == "localhost:6379"
    with pytest.raises(ValidationError, match="expected a host"):
        Settings(redis_url="redis://")
