"""Versions: the changelog and the package agree, and every version says what an upgrade needs."""

import re
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
CHANGELOG = (REPOSITORY / "CHANGELOG.md").read_text()


def test_the_package_has_the_newest_version_of_the_changelog() -> None:
    versions = re.findall(r"(?m)^## (\d+\.\d+\.\d+) - \d{4}-\d{2}-\d{2}$", CHANGELOG)
    assert versions[0] == tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert versions == sorted(versions, key=lambda v: [int(part) for part in v.split(".")], reverse=True)


def test_every_version_says_what_an_upgrade_needs() -> None:
    for version in re.split(r"(?m)^## ", CHANGELOG)[1:]:
        assert "### Upgrading" in version, version.split("\n")[0]


def test_the_licence_is_whole_and_named() -> None:
    licence = (REPOSITORY / "LICENSE").read_text()
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    assert "[Apache 2.0](LICENSE)" in (REPOSITORY / "README.md").read_text()
