"""Measurements, to be run by hand: they print numbers and assert nothing."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in every process of the system, see offerrank/__init__.py
