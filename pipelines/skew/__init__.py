"""Training/serving skew: what serving fed its model and made of it, against what training would have."""
