"""Controllers of spend side by side, on simulated days: `make bench-pacing`."""
