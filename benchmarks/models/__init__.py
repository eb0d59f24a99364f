"""Models against baselines on public data; see docs/models.md."""
