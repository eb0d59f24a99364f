"""Steps of ours between TFX's own."""
