# `make studio` and `make test` are all that a newcomer needs; both make what they miss.
PYTHON ?= python3
PORT ?= 8000
PROJECT ?= my-sounds
OPTIONS ?=
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: studio test check audit clean

studio: .venv/.studio
	$(BIN)/earmark studio $(PROJECT) --port $(PORT) $(OPTIONS)

test: check tests/tfjs/node_modules/.test
	sh scripts/find-browser.sh $(BIN)/python
	sh scripts/find-portaudio.sh $(BIN)/python
	$(BIN)/python -m pytest

check: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/bin/python:
	sh scripts/make-venv.sh $(PYTHON)

.venv/.studio: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing Earmark and PyTorch into .venv (a few minutes, once)…"
	$(INSTALL) '.[studio]'
	touch $@

.venv/.test: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing Earmark, PyTorch and the test tools into .venv (a few minutes, once)…"
	$(INSTALL) '.[test]'
	touch $@

tests/tfjs/node_modules/.test: tests/tfjs/package-lock.json
	sh scripts/find-node.sh
	@echo "Installing TensorFlow.js for the tests into tests/tfjs/node_modules…"
	cd tests/tfjs && npm ci --loglevel=error
	touch $@

audit: .venv/.test
	$(BIN)/python scripts/audit.py

clean:
	rm -rf .venv tests/tfjs/node_modules build dist
