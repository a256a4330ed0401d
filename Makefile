# `make demo` and `make test` set themselves up: a virtual environment in .venv, then the package in it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Headers of ONNX Runtime's C++ API, for an example that is compiled in a test. Python's package has the
# library without them; a package for Unity bundles both (MIT).
HEADERS := $(VENV)/include/onnxruntime/onnxruntime_cxx_api.h
HEADERS_FROM := com.github.asus4.onnxruntime@0.4.9

.PHONY: demo test lint docs headers clean
.DELETE_ON_ERROR:

# The version of torch that the figures were taken with. Which build comes is up to pip's indexes: on Linux,
# PyPI alone has the CUDA one of some gigabytes; with PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
# pip finds 2.13.0+cpu too and prefers it.
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

headers: $(HEADERS)

$(HEADERS): $(VENV)/.dev
	mkdir -p $(@D)
	cd $(@D) && npm pack --silent $(HEADERS_FROM) && tar xzmf *.tgz --strip-components=7 --wildcards '*/ios-arm64/*/Headers/*.h' && rm *.tgz
	test -f $@

lint: $(VENV)/.dev
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.dev
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf build dist docs/_build demo .pytest_cache .mypy_cache .ruff_cache
