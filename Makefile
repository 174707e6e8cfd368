# Every target makes the environment it needs. PYTHON names the interpreter to make it from (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Scripts of examples/ that end in a figure and a table for the docs.
EXPERIMENTS := $(basename $(notdir $(filter-out examples/flights.py examples/experiment.py,$(wildcard examples/*.py))))
# The versions that are installed; `make test CONSTRAINTS=` takes the newest.
CONSTRAINTS := -c constraints.txt
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
PIP := $(BIN)/python $(PIP_INSTALL) $(CONSTRAINTS)
PYTEST := $(BIN)/python -m pytest -n 2

# The environment of the lowest versions, and the tests that meet every dependency there in a few minutes.
LOWEST := .venv-lowest
LOWEST_TESTS := $(addprefix tests/test_,$(addsuffix .py,house bijections networks ode training saving tables columns images cli estimators))

# Where a release is built, then installed from what was built.
RELEASE := .venv-release

.PHONY: help demo examples test test-all test-defaults test-shapes test-lowest nightly check fix golden release-check \
	bench bench-zoo docs clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[demo]' && touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[dev]' && touch $@ $(VENV)/.demo

# torch by itself first: the pinned version has a CPU build where one is at hand. torchcfm without what its training
# scripts want: its matchers need torch and POT only.
$(VENV)/.bench: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) torch && $(PIP) -e '.[bench]' && $(PIP) --no-deps torchcfm && touch $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[docs,dev]' && touch $@

demo: $(VENV)/.demo  ## fit, score and sample a real table; writes demo/
	$(BIN)/python examples/flights.py --out demo

examples: $(VENV)/.dev  ## every experiment in full; writes docs/experiments/
	for name in $(EXPERIMENTS); do $(BIN)/python examples/$$name.py --out docs/experiments || exit 1; done

test: $(VENV)/.dev  ## what every change is held to
	$(PYTEST) -m "not nightly"

test-all: $(VENV)/.dev  ## every test, the nightly ones too
	$(PYTEST)

test-defaults: $(VENV)/.dev  ## every test, compiled with the default options, as users compile
	PUSHFORWARD_TEST_COMPILER=default $(PYTEST)

test-shapes: $(VENV)/.dev  ## the tests with types and shapes checked at every call, and no implicit promotion of axes or types
	JAX_NUMPY_RANK_PROMOTION=raise JAX_NUMPY_DTYPE_PROMOTION=strict $(PYTEST) -m "not nightly and not mistyped" --jaxtyping-packages=pushforward,shapes.checked

nightly: test-defaults test-shapes  ## every test as users compile, and types and shapes at every call

# What the direct dependencies need themselves is as new as they allow.
$(LOWEST)/.made: pyproject.toml tests/lowest.py
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python tests/lowest.py > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python $(PIP_INSTALL) -r $(LOWEST)/lowest.txt -e . && touch $@

# Old packages warn of each other: warnings are no errors here.
test-lowest: $(LOWEST)/.made  ## fast tests with the lowest versions that pyproject.toml allows
	$(LOWEST)/bin/python -m pytest -n 2 -q -W default -m "not nightly" $(LOWEST_TESTS)
	$(LOWEST)/bin/python -m pytest -n 2 -q -W default -m "not nightly" tests/test_contract.py -k "nsf or maf or mixture"

check: $(VENV)/.dev  ## format, lint, types, fast tests
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy
	$(PYTEST) -q -m "not nightly" tests/test_house.py tests/test_release.py tests/test_bijections.py tests/test_networks.py

fix: $(VENV)/.dev  ## format and mend what the linter can mend
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .
	$(BIN)/python docs/generate.py

golden: $(VENV)/.dev  ## model files of this version, which every later version has to read; keeps those that are there
	$(BIN)/python tests/golden/write.py

release-check:  ## build a release into dist/, look into it, install it afresh and run README's first example
	rm -rf dist $(RELEASE)
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/python $(PIP_INSTALL) $(CONSTRAINTS) hatchling
	$(RELEASE)/bin/python -m hatchling build
	$(RELEASE)/bin/python tests/release.py built dist
	$(PYTHON) -m venv --clear $(RELEASE)
	$(RELEASE)/bin/python $(PIP_INSTALL) $(CONSTRAINTS) dist/*.whl
	cd $(RELEASE) && bin/pushforward --version && bin/python ../tests/release.py example

bench: $(VENV)/.bench  ## the tables of benchmarks/RESULTS.md, peers beside
	$(BIN)/python benchmarks/run.py

bench-zoo: $(VENV)/.bench  ## every architecture on every data set; resumes where it stopped
	$(BIN)/python benchmarks/zoo.py

docs: $(VENV)/.docs  ## build the site into site/
	$(BIN)/python docs/generate.py && $(BIN)/mkdocs build --strict --quiet

clean:  ## remove the environments and everything generated
	rm -rf $(VENV) $(LOWEST) $(RELEASE) dist .jax_cache .pytest_cache .mypy_cache .ruff_cache site demo
