# `make studio` and `make test` are all that a newcomer needs; both make what they miss.
PYTHON ?= python3
PORT ?= 8000
PROJECT ?= my-sounds
OPTIONS ?=
BIN := .venv/bin
# One process more than there are cores, since many tests wait for sound to pass. Each has one thread: more would only
# wait for one another.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PYTEST := -m pytest --numprocesses $(WORKERS) --maxprocesses 8 --dist worksteal
QUICK := -m "not slow" --hypothesis-profile quick
REST := -m "slow or hypothesis"
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable
NOT_INSTALLED := { echo "Installing into .venv failed; pip says why above. It needs a way to the package index." >&2; exit 1; }

.PHONY: studio test test-all test-rest test-tools coverage check audit lowest dist clean

studio: .venv/.studio
	$(BIN)/earmark studio $(PROJECT) --port $(PORT) $(OPTIONS)

# What a contributor can break in an afternoon, in minutes.
test: check test-tools
	$(BIN)/python $(PYTEST) $(QUICK)

# All of it.
test-all: check test-tools
	$(BIN)/python $(PYTEST)

# What `make test` leaves out, and the properties with all their cases.
test-rest: test-tools
	$(BIN)/python $(PYTEST) $(REST)

# Which lines and branches all tests reach, in all processes; `make coverage OF='$(QUICK)'` asks it of `make test`.
# What is left after combining is of processes that were killed while they wrote it.
coverage: test-tools
	$(BIN)/coverage erase
	$(BIN)/coverage run $(PYTEST) $(OF)
	$(BIN)/coverage combine --quiet
	rm -f .coverage.*
	$(BIN)/coverage report

test test-all test-rest coverage lowest: export OMP_NUM_THREADS := 1
test test-all test-rest coverage lowest: export OPENBLAS_NUM_THREADS := 1
# The tests start hundreds of processes: without this, each would compile all modules anew where nothing is kept.
test test-all test-rest coverage lowest: export PYTHONDONTWRITEBYTECODE :=

test-tools: .venv/.test tests/tfjs/node_modules/.test
	sh scripts/find-browser.sh $(BIN)/python
	sh scripts/find-portaudio.sh $(BIN)/python
	sh scripts/find-strace.sh

check: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/bin/python:
	sh scripts/make-venv.sh $(PYTHON) .venv

.venv/.studio: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing Earmark into .venv (a minute or two, once)…"
	$(INSTALL) '.[studio]' || $(NOT_INSTALLED)
	touch $@

.venv/.test: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing Earmark, PyTorch and the test tools into .venv (a few minutes, once)…"
	$(INSTALL) '.[test]' || $(NOT_INSTALLED)
	touch $@

tests/tfjs/node_modules/.test: tests/tfjs/package-lock.json
	sh scripts/find-node.sh
	@echo "Installing TensorFlow.js for the tests into tests/tfjs/node_modules…"
	cd tests/tfjs && npm ci --loglevel=error
	touch $@

audit: .venv/.test
	$(BIN)/python scripts/audit.py

# The tests with the oldest packages that pyproject.toml allows.
lowest: test-tools
	sh scripts/make-venv.sh $(PYTHON) .venv-lowest
	.venv-lowest/bin/python scripts/lowest.py
	.venv-lowest/bin/python $(PYTEST) $(QUICK)

# Wheel, sdist and bill of materials of the last commit, tried out.
dist: .venv/.dist
	$(BIN)/python scripts/dist.py

.venv/.dist: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) '.[dist]' || $(NOT_INSTALLED)
	touch $@

clean:
	rm -rf .venv .venv-lowest tests/tfjs/node_modules build dist
