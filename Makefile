# The only workflow: people, hooks and CI call the same targets. `make help` lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
FUZZ_S ?= 600
# Hashes of pins, descriptors in generated code, names of tests; and `api_key = "k1"`: a key that matters is random, and found as such.
NO_SECRETS := --exclude-files '^requirements.*\.txt$$' --exclude-files '(^|/)gen/' --exclude-lines '^(async )?def test_' --disable-plugin KeywordDetector

.PHONY: help setup demo test test-slow test-clients check proto-check proto-release secrets audit fuzz gen fmt bench bench-quick up serve clean

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

check: setup ## lint, types, layers, contract, generated code, secrets; writes nothing
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python protos/check.py --language Python
	@$(MAKE) --no-print-directory secrets

proto-check: setup ## the contract: form, nothing broken since the last release, generated code in every language
	@$(BIN)/python protos/check.py

proto-release: setup ## write the image of the contract as it is released (protos/released/); nothing else does
	@$(BIN)/python protos/release.py

secrets: setup ## no password, key or token lies in the repository; FILES=... looks at these alone
	@files="$(FILES)"; [ "$$files" ] || files=$$(git ls-files --cached --others --exclude-standard) && \
	$(BIN)/detect-secrets-hook $(NO_SECRETS) $$files

audit: setup ## known vulnerabilities of what is pinned, by pip-audit; says so where its data cannot be had
	@$(BIN)/python .ci/audit.py $(or $(PINS),requirements-dev.txt)

fuzz: setup ## attack a real server for 10 minutes (FUZZ_S=seconds FUZZ_ARGS="--seed N")
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_S) $(FUZZ_ARGS)

fmt: setup ## format Python and protos
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(BIN)/buf format -w protos

gen: setup ## generated code from protos/
	@$(BIN)/python protos/generate.py

bench: setup ## what everything costs, judged: docs/performance.md (20 to 40 minutes)
	@$(BIN)/python -m benchmarks.bench
	@$(BIN)/python -m benchmarks.docs

bench-quick: setup ## Score and Reward beside a bare gRPC echo (under a minute)
	@$(BIN)/python -m benchmarks.bench --quick

clean: ## forget the virtual environment and all local data
	rm -rf $(VENV) build data out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
