# Commands of the house; `make help` lists them. A stamp in .venv makes every set-up step run once per change.

VENV := .venv
BIN := $(VENV)/bin
CLIENTS := .cache/clients
MORE_CLIENTS := .cache/more-clients
ORACLES := .cache/oracles
WORKERS ?= 2

.PHONY: help run test test-full bench durability lint wheel clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/run.stamp ## Set up and start a development node (data in .zvmd, kept between runs)
	exec $(BIN)/zvmd start --dev --data-dir .zvmd

test: $(VENV)/dev.stamp tools lint ## Set up, check style, types and layers, run the suite
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not full"

test-full: $(VENV)/dev.stamp tools more-clients lint ## The suite with its heavy matrices, and `make durability FULL=1`: for hours
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup
	$(BIN)/python -m tests.durability.campaign --full

lint: $(VENV)/dev.stamp ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev.stamp tools ## Every performance target beside anvil and revm where they are present, with its bar
	$(BIN)/python -m benchmarks.bars

durability: $(VENV)/dev.stamp ## Crash states, kills, flips and faults, counted into docs/durability.md; FULL=1: for hours
	$(BIN)/python -m tests.durability.campaign $(if $(FULL),--full)

wheel: $(VENV)/dev.stamp ## Build dist/zvmd-*.whl
	$(BIN)/pip wheel --no-deps --wheel-dir dist .

clean: ## Remove what the commands above made (the chain in .zvmd stays)
	rm -rf $(VENV) .cache dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	tools/setup.sh venv $(VENV)

$(VENV)/run.stamp: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install -qq --editable .
	touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	$(BIN)/pip install -qq --group dev
	touch $@

# Programs the tests use when they are there: systemd-analyze, ip and Chromium from Debian; cast, anvil and ethers from
# npm; the execution specification, whose traces zvmd's are compared with.
.PHONY: tools more-clients oracles
tools: $(CLIENTS)/clients.stamp oracles
	@tools/setup.sh debian

$(CLIENTS)/clients.stamp: tests/clients/package.json tests/clients/hardhat/package.json tools/setup.sh
	tools/setup.sh clients $(CLIENTS)
	touch $@

more-clients: $(MORE_CLIENTS)/clients.stamp

$(MORE_CLIENTS)/clients.stamp: tests/clients/more/package.json tests/clients/more/requirements.txt
	tools/setup.sh more-clients $(MORE_CLIENTS)
	touch $@

oracles: $(ORACLES)/oracles.stamp

$(ORACLES)/oracles.stamp: tests/differential/requirements.txt
	tools/setup.sh oracles $(ORACLES)
	touch $@
