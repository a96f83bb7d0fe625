# make certify   certify a backend with the suites     make certify BACKEND=mypkg.storage PYTEST_ARGS="--level core"
# make mutants   every broken backend must be caught, every unusual one must pass: MATRIX_ARGS="--reach area" shows how narrowly
# make test      lint, types, and the harness's own tests
# make coverage  how much of the code those tests reach, ranks included
#
# Each sets up .venv in this folder first, with the exact versions of constraints.txt. TORCH=system takes the torch
# (and whatever comes with it) that $(PYTHON) sees instead of installing one: make test TORCH=system PYTHON=python3.12
# PIP_ARGS goes to pip, for an index of CPU builds for example.

PYTHON ?= python3
TORCH ?= pinned
BACKEND ?= reference_impl
PIP_ARGS ?=
PYTEST_ARGS ?=
MATRIX_ARGS ?=
WORKERS ?= $(shell cores=$$(nproc 2>/dev/null || echo 2); echo $$((cores > 4 ? 4 : cores)))

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
# The name says what the environment was made of, so that another choice makes it anew.
READY := $(VENV)/ready-$(TORCH)-$(subst /,_,$(PYTHON))

# An adapter of backends/ needs its extra, and the store on Azure's side a program from npm.
EXTRA := $(filter $(BACKEND),$(shell sed -n 's/^\([a-z0-9-]*\) = \[.*/\1/p' pyproject.toml))
EXTRA_READY := $(if $(EXTRA),$(READY)-$(EXTRA))

.PHONY: certify test test-page hostile mutants coverage clean
.DELETE_ON_ERROR:

certify: $(READY) $(EXTRA_READY)
	$(BIN)/python -m pytest suites --backend=$(BACKEND) -n $(WORKERS) $(PYTEST_ARGS)

test: $(READY)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest tests -W error -n $(WORKERS) $(PYTEST_ARGS)

# The report in a real browser: needs chromium with its driver, and axe-core (see tests/browser/conftest.py).
test-page: $(READY)
	$(BIN)/python -m pytest tests/browser -W error $(PYTEST_ARGS)

# Every hostile backend of tests/hostile; make test runs those that stand for a kind.
hostile: $(READY)
	$(BIN)/python -m pytest tests/hostile --all-hostile -W error $(PYTEST_ARGS)

mutants: $(READY)
	$(BIN)/python -m tests.mutants.matrix --jobs $(WORKERS) $(MATRIX_ARGS)
	$(BIN)/python -m tests.mutants.matrix --jobs $(WORKERS) --variants
	$(BIN)/python -m tests.mutants.matrix --jobs $(WORKERS) --without

coverage: $(READY)
	$(BIN)/python -m coverage erase
	COVERAGE_PROCESS_START=pyproject.toml $(BIN)/python -m coverage run -m pytest tests -q $(PYTEST_ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered | tail -n 40

$(READY)-%: $(READY)
	$(PIP) --constraint constraints.txt --editable ".[$*]"
	$(if $(findstring azure,$*),npm install --prefix $(VENV) --no-audit --no-fund --silent azurite@3)
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(READY): pyproject.toml constraints.txt Makefile .ci/system_torch.py
	$(PYTHON) -m venv --clear $(VENV)
ifeq ($(TORCH),system)
	$(PIP) --no-deps --constraint constraints.txt setuptools
	$(PIP) --no-deps --no-build-isolation --editable .
	$(PYTHON) .ci/system_torch.py folders > $(VENV)/system.txt
	$(BIN)/python .ci/system_torch.py link $(VENV)/system.txt
	$(BIN)/python .ci/system_torch.py requirements constraints.txt $(VENV)
	$(PIP) --constraint $(VENV)/constraints.txt --requirement $(VENV)/requirements.txt
else
	$(PIP) --constraint constraints.txt --editable ".[dev,bench,backends]"
endif
	touch $@
