# `make demo` and `make test` set themselves up: a virtual environment in .venv, then the package in it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint docs clean
.DELETE_ON_ERROR:

# CPU torch first: a bare `torch` would bring gigabytes of GPU libraries.
$(VENV)/.core: pyproject.toml Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off torch==2.13.0
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test,lint,docs]"
	touch $@

demo: $(VENV)/.core
	$(BIN)/gen2reco demo --output demo --overwrite

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.dev
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf build dist docs/_build demo .pytest_cache .mypy_cache .ruff_cache
