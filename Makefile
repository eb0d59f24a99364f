# Everything runs from .venv, which `make install` builds from the hashed lock file.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
UV := $(shell command -v uv 2>/dev/null || echo .venv/uv/bin/uv)
ARGS ?=
# Most tests wait for processes: two files at a time take little more than half as long. A file's tests share what it has set up.
WORKERS ?= 2
BESIDE := -n $(WORKERS) --dist loadfile
export TF_USE_LEGACY_KERAS := 1
export TF_CPP_MIN_LOG_LEVEL ?= 3
# Hundreds of processes start here: without what the first has compiled a gateway takes a quarter longer to.
export PYTHONDONTWRITEBYTECODE :=

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

install: .venv/installed ## build .venv (uv is bootstrapped when it is missing)

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) offerrank/check_python.py
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@command -v uv >/dev/null 2>&1 || test -x .venv/uv/bin/uv || { $(PYTHON) -m venv .venv/uv && .venv/uv/bin/pip install -q uv; }
	@# Compiled here once: TensorFlow's imports, of which the demo has several, take half the time.
	$(UV) pip sync --python $(BIN)/python --compile-bytecode requirements.lock
	$(UV) pip install --python $(BIN)/python --no-deps -q -e .
	@touch $@

airflow: .venv-airflow/installed ## build .venv-airflow, with Airflow beside OfferRank: its DAGs are tested in there

.venv-airflow/installed: requirements-airflow.lock .venv/installed
	@test -x .venv-airflow/bin/python || $(BIN)/python -m venv --without-pip .venv-airflow
	$(UV) pip sync --python .venv-airflow/bin/python requirements-airflow.lock
	$(UV) pip install --python .venv-airflow/bin/python --no-deps -q -e .
	@touch $@

demo: install ## the closed loop on a simulated market; ARGS="--minutes 5 --json FILE"
	@$(BIN)/offerrank demo $(ARGS)

check: install ## ruff, mypy, import-linter, unit tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest tests/unit $(BESIDE) $(ARGS)

test: check ## all tests
	@# Airflow has no environment in common with TFX 1.21.
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 12))' || $(MAKE) airflow
	$(BIN)/pytest tests/integration $(BESIDE) --no-loadscope-reorder $(ARGS)

bench: install ## decisions per second, latency, stages, memory; ARGS="--json FILE"
	@$(BIN)/python -m benchmarks.gateway $(ARGS)

studies: install ## position, selection, heads, delay, drift and a month on simulated truth; ARGS="--only position --seeds 3"
	@$(BIN)/python -m benchmarks.studies $(ARGS)

adversary: install ## attacks, floods, losses and faults against the money; ARGS="--only conversions --short --json FILE"
	@$(BIN)/python -m benchmarks.adversary $(ARGS)

faults: install ## a simulated market broken in twelve ways: who notices, when; ARGS="--only bots --sizes large --seeds 6 --json FILE"
	@$(BIN)/python -m benchmarks.faults $(ARGS)

bench-models: install ## our models against boosted trees on public data; ARGS="--data coupon_vehicle --seeds 1 --json FILE"
	@$(BIN)/python -m benchmarks.models $(ARGS)

bench-speed: install ## an epoch of the ranker, its input pipeline, and PyTorch's (installed on first use); ARGS="--json FILE"
	@$(BIN)/python -c "import torch" 2>/dev/null || $(UV) pip install -q --python $(BIN)/python --torch-backend cpu torch
	@$(BIN)/python -m benchmarks.models.speed $(ARGS)

bench-pacing: install ## ours, throttling, PID and no pacing on simulated days, against hindsight; ARGS="--json FILE --seeds 1"
	@$(BIN)/python -m benchmarks.pacing $(ARGS)

bench-pipeline: install ## seconds and peak memory of a training by component; ARGS="--rows 1000000 --json FILE"
	@$(BIN)/python -m benchmarks.pipeline $(ARGS)

lock: install ## resolve the lock files anew
	$(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q --extra dev pyproject.toml -o requirements.lock
	@# Airflow 2 wants SQLAlchemy 1.4; its tasks never open the catalogue's database.
	echo 'sqlalchemy<2' | $(UV) pip compile --override /dev/stdin --python-version 3.11 --generate-hashes --no-annotate --no-header -q --extra airflow pyproject.toml -o requirements-airflow.lock

clean: ## remove both environments and everything the demo wrote
	rm -rf .venv .venv-airflow .offerrank

.PHONY: help install airflow demo check test bench bench-models bench-speed bench-pacing bench-pipeline studies adversary faults lock clean
