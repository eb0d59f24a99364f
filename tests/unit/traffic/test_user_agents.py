"""The list of the package is what decides, and no browser is on it."""

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA, is_crawler

from domain.traffic import InvalidTraffic
from serving.gateway.traffic.user_agents import CACHED, LONGEST, _verdict, verdict

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
BROWSERS = [
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/134.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/134.0.0.0 Safari/537.36 Edg/134.0.0.0",
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Chrome/134.0.0.0 Safari/537.36 OPR/119.0.0.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/134.0 Mobile/15E148",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:136.0) Gecko/20100101 Firefox/136.0",
    f"Mozilla/5.0 (Linux; Android 14; SM-S918B) {WEBKIT} SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 9; CUBOT_X18_Plus) {WEBKIT} Chrome/134.0.0.0 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 14; Pixel 8; wv) {WEBKIT} Version/4.0 Chrome/134.0 Safari/537.36 [FB_IAB/FB4A;FBAV/500.0]",
    f"Mozilla/5.0 (Linux; Android 14) {WEBKIT} Chrome/134.0.0.0 Mobile Safari/537.36 Instagram 370.0.0.0 Android",
    "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/AP2A.240805.005)",
    "MyShop/4.2 CFNetwork/1568.300.101 Darwin/24.2.0",
]


@pytest.mark.parametrize("user_agent", BROWSERS)
def test_browsers_are_nobody_else(user_agent: str) -> None:
    assert verdict(user_agent) == ""


def test_every_robot_of_the_list_is_found_and_nothing_else_is() -> None:
    known = {agent for entry in CRAWLER_USER_AGENTS_DATA for agent in entry.get("instances", ())}
    assert len(known) > 1000
    assert [agent for agent in known if bool(verdict(agent)) != is_crawler(agent[:LONGEST].strip())] == []


def test_libraries_are_told_from_robots() -> None:
    assert verdict("") == verdict("python-requests/2.32.3") == verdict("okhttp/4.12.0") == InvalidTraffic.LIBRARY
    assert verdict("python-requests/2.32.3 Googlebot/2.1") == verdict("Googlebot/2.1 curl/8") == InvalidTraffic.ROBOT


def test_no_user_agent_costs_much_or_is_kept_for_ever() -> None:
    for i in range(CACHED + 100):
        verdict(f"{i}/1.0")
    kept = _verdict.cache_info()
    assert kept.currsize == kept.maxsize == CACHED
    assert verdict("x" * LONGEST + "Googlebot/2.1" + "x" * 1_000_000) == ""
