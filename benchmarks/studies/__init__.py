"""Studies on simulated logs, whose true probabilities are known: `make studies`."""
