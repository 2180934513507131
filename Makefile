# The only workflow: people, hooks and CI call the same targets. `make help` lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test test-slow test-clients check gen fmt bench bench-quick up serve clean

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## a virtual environment in .venv with everything pinned

$(READY): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ooml needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up $(VENV) (once; about a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## bring up a real server and watch it learn (under three minutes)
	@$(BIN)/ooml demo

up: setup ## everything on this machine: Valkey, features, policies, server
	@$(BIN)/ooml up

serve: setup ## the server alone, settings from OOML_*
	@$(BIN)/ooml serve

test: setup ## the tests, on real servers; under six minutes
	@$(BIN)/pytest -q

test-slow: setup ## the long fault, load and statistics tests
	@$(BIN)/pytest -q -m slow --timeout 1800

test-clients: setup ## the same cases with every client there are tools for, on real servers
	@$(BIN)/python -m clients.conformance.run

check: setup ## lint, types, layers, contract, generated code; writes nothing
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/buf format --diff --exit-code protos
	@$(BIN)/buf lint protos
	@$(BIN)/python protos/generate.py --check

fmt: setup ## format Python and protos
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(BIN)/buf format -w protos

gen: setup ## generated code from protos/
	@$(BIN)/python protos/generate.py

bench: setup ## what everything costs, judged: docs/performance.md (under 25 minutes)
	@$(BIN)/python -m benchmarks.bench --docs docs

bench-quick: setup ## Score and Reward beside a bare gRPC echo (under a minute)
	@$(BIN)/python -m benchmarks.bench --quick

clean: ## forget the virtual environment and all local data
	rm -rf $(VENV) build data out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
