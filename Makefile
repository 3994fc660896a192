.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCAL := $(BIN)/python -m customer360_airflow.local
unexport PYTHONDONTWRITEBYTECODE
export DO_NOT_TRACK := 1
export GX_ANALYTICS_ENABLED := false
export UV_PYTHON_DOWNLOADS := never
export UV_NO_CACHE := 1
export MPLCONFIGDIR := $(CURDIR)/data/.matplotlib
export PRE_COMMIT_HOME := $(CURDIR)/data/.pre-commit

.PHONY: help env run backfill up down test test-faults bench bench-demo bench-models bench-plan bench-identity bench-extract bench-warehouse bench-lookup bench-activation check lock clean

help:  ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

env: $(VENV)/ready  ## Make the environment in .venv from the hashed lock

$(VENV)/ready: requirements.lock pyproject.toml
	@echo "making the environment in $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

run: env  ## Take one as-of day through the whole chain (COMPANY=... AS_OF=YYYY-MM-DD; demo: SIZE=small|medium)
	@$(LOCAL) run $(if $(AS_OF),--as-of $(AS_OF))

backfill: env  ## Take a range of days through the chain (FROM=... TO=... EVERY=7)
	@$(LOCAL) backfill --from "$(FROM)" --to "$(TO)" $(if $(EVERY),--every $(EVERY))

up: env  ## Start Airflow with its web interface; prints address and login
	@$(LOCAL) up

down: env  ## Stop it
	@$(LOCAL) down

test: env  ## Pass every test but the long fault runs
	@$(BIN)/pytest -m "not faults" -n 2 --dist loadfile

test-faults: env  ## The long fault runs: kills, full disks, zombies
	@$(BIN)/pytest -m faults -v

bench: env  ## Time the chain beside one hand-written DuckDB script (SCHEDULER=1: make run too)
	@$(BIN)/python -m tests.benchmarks.chain_bench $(if $(SCHEDULER),--scheduler)

bench-demo: env  ## What a demo company costs: time, memory, disk (SIZE=small, medium or large)
	@$(BIN)/python tests/benchmarks/demo_bench.py $(if $(SIZE),--size $(SIZE))

bench-models: env .venv-bench/ready  ## Models' promised figures beside rules and peers (CUSTOMER360_BENCH_DATA=folder)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.models_bench

bench-plan: env  ## The touch plan: a million customers, and 20,000 beside the bound by HiGHS
	@$(BIN)/python -m tests.benchmarks.plan_bench

bench-identity: env .venv-bench/ready  ## Identity beside its reference and peers (MILLION=1: the medium demo and a million records too)
	@$(BIN)/python -m tests.benchmarks.identity_bench --peers .venv-bench/bin/python $(if $(MILLION),--medium --million)

bench-extract: env .venv-bench/ready  ## Extraction beside DuckDB's scanner, connectorx and dlt
	@$(BIN)/python -m tests.benchmarks.extract_bench

bench-warehouse: env  ## A full build and one more day, beside the same SQL as one script (SIZE=small, medium)
	@$(BIN)/python -m tests.benchmarks.warehouse_bench $(if $(SIZE),--size $(SIZE))

bench-lookup: env  ## Reading one customer's page at a million customers after thirty nights
	@$(BIN)/python -m tests.benchmarks.lookup_bench

bench-activation: env .venv-bench/ready  ## Deliveries beside ADBC + MERGE and drt-core; sends with injected faults
	@$(BIN)/python -m tests.benchmarks.activation_bench

.venv-bench/ready: requirements-bench.txt
	@$(PYTHON) -m venv --clear .venv-bench
	@$(BIN)/uv pip install --quiet --python .venv-bench/bin/python -r requirements-bench.txt
	@touch $@

check: env  ## Static checks: ruff, mypy, sqlfluff, what Spark would not run, the hooks' configuration
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/customer360 dbt
	@$(BIN)/sqlfluff lint --processes 2 --disable-progress-bar dbt_project/models
	@$(BIN)/python -m customer360.portability
	@$(BIN)/pre-commit validate-config

lock:  ## Renew requirements.lock from requirements.in
	@$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --quiet -o requirements.lock requirements.in

clean:  ## Remove the environment and everything that runs have made
	rm -rf $(VENV) .venv-bench .airflow data dbt_project/target dbt_project/logs
