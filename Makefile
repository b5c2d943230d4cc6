# make demo    train, report, dump and export a small model     (neither torch nor triton)
# make test    every test                                       (torch, keras and more: see `test` in pyproject.toml)
# make test-native   the tests that train, save and load, once more as C        (needs a C compiler)
# make lint    lint, format and types          make bench   the figures of benchmarks/
#
# Each makes .venv and installs what it needs, once. PYTHON picks the interpreter (3.11 or newer).

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?= -q -n auto
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

NATIVE_TESTS := tests/fit tests/models tests/saving tests/examples tests/readme

.PHONY: demo test test-native lint format bench clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.demo
	$(BIN)/kcompile demo

test: $(VENV)/.test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-native: $(VENV)/.test
	KCOMPILE_TARGET=native $(BIN)/python -m pytest $(PYTEST_ARGS) $(NATIVE_TESTS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.test
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/compile_time.py
	$(BIN)/python benchmarks/steady.py
	$(BIN)/python benchmarks/compare.py

clean:
	rm -rf $(VENV) demo_out build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "kcompile needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) torch==2.13.0 -e '.[test]'
	@touch $@ $(VENV)/.demo
