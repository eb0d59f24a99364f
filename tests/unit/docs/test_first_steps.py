"""docs/first-steps.md: its figures are those of docs/models.md, from which they were taken."""

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_figures_of_what_to_try_stand_in_the_document_of_the_models() -> None:
    steps, models = (DOCS / "first-steps.md").read_text(), (DOCS / "models.md").read_text()
    tried = steps[steps.index("## When a model is behind trees") :]
    figures = set(re.findall(r"\d\.\d{4}", tried))
    assert len(figures) > 15
    assert sorted(figure for figure in figures if figure not in models) == []
