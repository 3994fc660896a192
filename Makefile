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

.PHONY: help env run backfill up down bench test-faults lock clean

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

run: env  ## Take one as-of day through the whole chain (COMPANY=... AS_OF=YYYY-MM-DD)
	@$(LOCAL) run $(if $(AS_OF),--as-of $(AS_OF))

backfill: env  ## Take a range of days through the chain (FROM=... TO=... EVERY=7)
	@$(LOCAL) backfill --from "$(FROM)" --to "$(TO)" $(if $(EVERY),--every $(EVERY))

up: env  ## Start Airflow with its web interface; prints address and login
	@$(LOCAL) up

down: env  ## Stop it
	@$(LOCAL) down

bench: env  ## Time the chain on the real data beside one hand-written DuckDB script (SCHEDULER=1)
	@$(BIN)/python -m tests.benchmarks.chain_bench $(if $(SCHEDULER),--scheduler)

test-faults: env  ## Kill every step of the chain at many moments and look at what is left
	@$(BIN)/python -m pytest -m faults -v tests

lock:  ## Renew requirements.lock from requirements.in
	@$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --quiet -o requirements.lock requirements.in

clean:  ## Remove the environment and everything that runs have made
	rm -rf $(VENV) .airflow data dbt_project/target dbt_project/logs
