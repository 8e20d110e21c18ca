# One command each; the first run makes .venv (Python 3.11 or newer, git and make are all that is needed).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
OPTIONAL := browser or cluster or silicon or chaos

.PHONY: help setup demo test coverage lint format bench figures tables docs test-web test-cluster test-silicon test-chaos clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Routeline needs Python 3.11 or newer; try make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Stamps: what pyproject.toml asks for is installed. Bytecode is written at once, as pip does for a wheel: an editable
# install would otherwise compile on every start where PYTHONDONTWRITEBYTECODE is set (0.53 s instead of 0.36 s).
$(VENV)/.base: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@$(BIN)/python -m compileall -q src/routeline
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@$(BIN)/python -m compileall -q src/routeline
	@touch $@ $(VENV)/.base

$(VENV)/.extra-%: pyproject.toml | $(VENV)/.dev
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev,$*]'
	@touch $@

setup: $(VENV)/.dev  ## install everything the tests need into .venv

demo: $(VENV)/.base  ## the question, answered for DeepSeek-V3 on eight MI300X
	$(BIN)/routeline compare DeepSeek-V3 --devices 8xMI300X --context 128k --weights bf16 --cache bf16 \
	  --utilisation 0.95 --memory marketed --layout pooled --q 2 --tier bandwidth

test: $(VENV)/.dev  ## the tests that need no browser, cluster or extra package
	$(PYTEST) -m 'not ($(OPTIONAL))'

coverage: $(VENV)/.dev  ## line coverage of the core, at least 95%
	$(PYTEST) -m 'not ($(OPTIONAL))' tests/test_*.py tests/hf tests/quality tests/cli --cov --cov-report=term --cov-fail-under=95

lint: $(VENV)/.extra-web $(VENV)/.extra-cluster  ## format, lint, types, import order
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## let ruff write the format and the safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev  ## timings (no assertions)
	$(PYTEST) benchmarks --benchmark-only

figures: $(VENV)/.dev  ## the pictures of README and docs, from real runs
	$(BIN)/python docs/figures/make.py

tables: $(VENV)/.extra-silicon  ## the tables of docs/accuracy.md, from real runs
	$(BIN)/python docs/accuracy_tables.py

docs: $(VENV)/.dev  ## refresh the outputs pasted into README and docs
	$(BIN)/python tests/test_docs.py --update

test-web: $(VENV)/.extra-browser  ## the page in a real Chromium
	$(PYTEST) -m browser

test-cluster: $(VENV)/.extra-cluster  ## sweeps on a Dask cluster of several processes
	$(PYTEST) -m cluster

test-silicon: $(VENV)/.extra-silicon  ## calibration against the measured kernel tables
	$(PYTEST) -m silicon

test-chaos: $(VENV)/.extra-cluster  ## sweeps killed at random moments
	$(PYTEST) -m chaos

clean:  ## remove .venv and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .benchmarks
