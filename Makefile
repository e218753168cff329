# Corten: `make demo` and `make test` need Python 3.11+ and a Rust toolchain, nothing else.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# One cargo profile and one package selection for the demo, the tests and the wheel: one set of artefacts.
export CORTEN_PROFILE ?= ci
CARGO_FLAGS := --locked --profile $(CORTEN_PROFILE)
ifdef CORTEN_CACHE
export CARGO_TARGET_DIR ?= $(CORTEN_CACHE)/rustc-$(shell rustc -vV | sed -n 's/^release: //p')
endif

RUST_SOURCES := Cargo.toml Cargo.lock $(shell find crates -name '*.rs' -not -path '*/tests/*' -o -name Cargo.toml)
BUILD_SOURCES := pyproject.toml tools/corten_build.py $(RUST_SOURCES)

.DEFAULT_GOAL := help
.PHONY: help demo test test-rust test-python test-engines wheel lint format venv build bench golden clean

help:  ## list the targets
	@echo "Corten: train in Python, run in Rust."
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | awk -F'\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'
	@echo
	@echo "  CORTEN_PROFILE=release   the profile to publish with (default ci: quicker to build)"
	@echo "  CORTEN_CACHE=FOLDER      keep build output outside the clone"

demo: $(VENV)/.demo $(VENV)/.built  ## train, save, score, serve and bundle a model on real data
	$(PY) demo/flights.py

test: test-rust test-python  ## run all tests, Rust and Python

test-rust:
	cargo test $(CARGO_FLAGS) --workspace

test-python: $(VENV)/.dev $(VENV)/.built
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 -q

test-engines: $(VENV)/.engines $(VENV)/.built  ## install Ray, Dask, Spark, MLflow and corten-datafusion, and run their tests
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" MATURIN_PEP517_ARGS="--profile $(CORTEN_PROFILE)" \
		$(PY) -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps extensions/datafusion
	CORTEN_ENGINES=required $(PY) -m pytest -q tests/engines

wheel: $(VENV)/.tools  ## write dist/corten-*.whl: the package, the extension and both binaries
	@mkdir -p dist
	$(PY) -m pip wheel -q --no-build-isolation --no-deps -w dist .
	@ls -l dist/corten-*.whl

lint: $(VENV)/.dev $(VENV)/.built  ## check format, lints, types and the floors
	cargo fmt --all --check
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	$(PY) tools/check_layers.py
	$(PY) tools/check_features.py
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(VENV)/.dev  ## format Rust and Python
	cargo fmt --all
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

venv: $(VENV)/.dev  ## create .venv with everything the tests and checks use

build: $(VENV)/.built  ## build the extension and the binaries and install them into .venv

bench: $(VENV)/.dev $(VENV)/.built  ## run the scripts of benches/, each of which prints a table
	@set -e; for script in benches/[a-z]*.py; do echo "== $$script"; $(PY) $$script; done

golden: $(VENV)/.dev $(VENV)/.built  ## make the golden model files of the version in development again
	$(PY) tools/make_golden.py

clean:  ## remove what was built, the environment included
	rm -rf target dist corten.data demo-out $(VENV) .pytest_cache .mypy_cache .ruff_cache
	find python -name '*.so' -delete -o -name __pycache__ -prune -exec rm -rf {} +

# Stamps: each says which requirements .venv has met.
$(VENV)/bin/python:
	@command -v cargo >/dev/null || { echo "Corten needs a Rust toolchain (cargo): install one from your system or from rustup"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Corten needs Python 3.11 or newer; name one with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.tools: requirements/build.txt requirements/constraints.txt | $(VENV)/bin/python
	$(PY) -m pip install -q --disable-pip-version-check -r requirements/build.txt
	@touch $@

$(VENV)/.demo: requirements/demo.txt $(VENV)/.tools
	$(PY) -m pip install -q --disable-pip-version-check -r requirements/demo.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.demo
	$(PY) -m pip install -q --disable-pip-version-check -r requirements/dev.txt
	@touch $@

$(VENV)/.engines: requirements/engines.txt $(VENV)/.dev
	$(PY) -m pip install -q --disable-pip-version-check -r requirements/engines.txt
	@touch $@

$(VENV)/.built: $(BUILD_SOURCES) $(VENV)/.tools
	$(PY) -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@
