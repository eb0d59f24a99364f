"""docs/market.md lists every key of market.toml as the code reads it."""

from pathlib import Path

from features.reference import market_reference

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "market.md"


def test_the_document_holds_the_reference_as_the_code_has_it() -> None:
    assert DOCUMENT.read_text().endswith(market_reference() + "\n"), (
        "docs/market.md is out of date: replace its tables with what `features.reference.market_reference()` says"
    )


def test_every_key_says_what_it_means() -> None:
    rows = [line.split(" | ") for line in market_reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 60
    assert [row[0] for row in rows if not row[-1].strip(" |")] == []
