"""The web SDK as the gateway serves it."""

import sdk

URL = "/sdk/offerrank.js"


def test_a_page_of_any_origin_loads_and_checks_the_script_without_a_key(gateway):
    answer = gateway.call("GET", URL, key=None, headers={"origin": "https://shop.example"})
    assert (answer.status_code, answer.content) == (200, sdk.SCRIPT.read_bytes())
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["etag"] == f'"{sdk.integrity(answer.content)}"'
    assert answer.headers["cache-control"].startswith("public, max-age=")


def test_it_is_sent_once_and_zipped(gateway):
    zipped = gateway.call("GET", URL, key=None, headers={"accept-encoding": "gzip"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert int(zipped.headers["content-length"]) < 6_000
    plain = gateway.call("GET", URL, key=None, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert zipped.content == plain.content
    known = gateway.call("GET", URL, key=None, headers={"if-none-match": plain.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
