"""The command line and the start-up of all processes."""

import os

# Set before NumPy is imported, and passed on to every process that is started here. OpenBLAS's threads spin while they wait, and
# no product of this system is large enough to share: beside another job they took two fifths of the CPU of a month of trainings.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
