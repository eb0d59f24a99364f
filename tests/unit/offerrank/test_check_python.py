"""A Python that cannot hold OfferRank is told so before anything is installed."""

import pytest

from offerrank.check_python import problem


@pytest.mark.parametrize(
    ("version", "system", "machine", "glibc", "said"),
    [
        ((3, 11), "Linux", "x86_64", (2, 36), None),
        ((3, 12), "Linux", "x86_64", (2, 39), None),
        ((3, 13), "Darwin", "arm64", None, None),
        ((3, 12), "Linux", "x86_64", (2, 36), "glibc 2.39 or newer, this is 2.36"),
        ((3, 10), "Linux", "x86_64", (2, 36), "this is Python 3.10"),
        ((3, 14), "Linux", "x86_64", (2, 41), "this is Python 3.14"),
        ((3, 11), "Linux", "aarch64", (2, 36), "this is Linux aarch64"),
    ],
)
def test_only_supported_pythons_pass(
    version: tuple[int, int], system: str, machine: str, glibc: tuple[int, int] | None, said: str | None
) -> None:
    found = problem(version, system, machine, glibc)
    assert (said in found) if said and found else found is said
