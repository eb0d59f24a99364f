"""The networks, their losses and metrics, calibration, and the release that carries them to serving."""
