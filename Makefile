# `make studio` and `make test` are all that a newcomer needs; both make what they miss.
PYTHON ?= python3
PORT ?= 8000
PROJECT ?= my-sounds
OPTIONS ?=
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: studio test check audit lowest dist clean

studio: .venv/.studio
	$(BIN)/earmark studio $(PROJECT) --port $(PORT) $(OPTIONS)

test: check tests/tfjs/node_modules/.test
	sh scripts/find-browser.sh $(BIN)/python
	sh scripts/find-tools.sh
	$(BIN)/python -m pytest

check: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/bin/python:
	sh scripts/make-venv.sh $(PYTHON) .venv

.venv/.studio: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing Earmark into .venv (about a minute, once)…"
	$(INSTALL) '.[studio]'
	touch $@

.venv/.test: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing Earmark, PyTorch and the test tools into .venv (a few minutes, once)…"
	$(INSTALL) '.[test]'
	touch $@

tests/tfjs/node_modules/.test: tests/tfjs/package-lock.json
	sh scripts/find-node.sh
	@echo "Installing TensorFlow.js for the tests into tests/tfjs/node_modules…"
	cd tests/tfjs && npm ci --silent
	touch $@

audit: .venv/.test
	$(BIN)/python scripts/audit.py

# The tests with the oldest packages that pyproject.toml allows.
lowest: tests/tfjs/node_modules/.test
	sh scripts/make-venv.sh $(PYTHON) .venv-lowest
	.venv-lowest/bin/python scripts/lowest.py
	sh scripts/find-browser.sh .venv-lowest/bin/python
	.venv-lowest/bin/python -m pytest

# Wheel, sdist and bill of materials of the last commit, tried out.
dist: .venv/.dist
	$(BIN)/python scripts/dist.py

.venv/.dist: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) '.[dist]'
	touch $@

clean:
	rm -rf .venv .venv-lowest tests/tfjs/node_modules build dist
