"""No process of the system has threads of linear algebra that spin while they wait."""

import os
import subprocess
import sys

import pytest

SAYS = "import os, sys; import {}; assert 'numpy' not in sys.modules; print(os.environ['OPENBLAS_NUM_THREADS'])"


@pytest.mark.parametrize(("asked", "got"), [(None, "1"), ("4", "4")])
@pytest.mark.parametrize("package", ["offerrank.cli", "benchmarks", "serving.gateway"])
def test_linear_algebra_has_one_thread_unless_asked_otherwise(package: str, asked: str | None, got: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    environment |= {} if asked is None else {"OPENBLAS_NUM_THREADS": asked}
    said = subprocess.run(
        [sys.executable, "-c", SAYS.format(package)], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout.strip() == got
