"""From logs to a blessed release, as a TFX pipeline."""
