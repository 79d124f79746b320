# The two commands: `make demo` (the main job, on real pictures) and `make test`.
# Both use one virtual environment, .venv, and install again only when pyproject.toml changed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
OUT ?= demo
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

# torch and torchvision fit together only in pairs. Without the pair the demo still runs on torch
# alone; the tests also read open_clip models, which need torchvision.
PAIR ?= torch==2.14.1 torchvision==0.29.1
ALONE ?= torch==2.13.0

.PHONY: help demo test test-corpora test-browser clean

help:
	@echo 'make demo                     fetch pictures, find the gap, teach the word, measure'
	@echo 'make test                     lint, type check, tests with coverage'
	@echo 'make test-corpora CORPORA=DIR the tests that read a folder of real pictures and answers'
	@echo 'make test-browser             the pages, in headless Chromium'
	@echo 'make clean                    remove .venv and demo'

demo: $(VENV)/.installed-demo
	@$(BIN)/python -m pipelines.emoji_people --out $(OUT)

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p curate -p train -p pipelines
	MYPYPATH=tools $(BIN)/mypy tools/build_words.py tools/word_senses.py
	$(BIN)/python -m pytest -m 'not corpora' -n auto --dist loadfile --cov=curate --cov=train --cov-report=term

test-corpora: $(VENV)/.installed-dev
	@test -d '$(CORPORA)' || { echo 'error: CORPORA: name the folder of real data'; \
	  echo '  fix: make test-corpora CORPORA=DIR'; exit 2; } >&2
	$(BIN)/python -m pytest -m corpora --corpora='$(CORPORA)' tests

test-browser: $(VENV)/.installed-browser
	$(BIN)/python -m tests.browser

clean:
	rm -rf $(VENV) $(OUT)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'error: $(PYTHON): is older than 3.11'; \
	  echo '  fix: make PYTHON=python3.11'; exit 2; } >&2
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-torch: | $(VENV)/bin/python
	@echo 'installing torch (once; a minute or a few)' >&2
	$(PIP) install -q $(PAIR) || $(PIP) install -q $(ALONE)
	@touch $@

$(VENV)/.installed-demo: pyproject.toml $(VENV)/.installed-torch
	$(PIP) install -q -e '.[demo]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.installed-torch
	@$(BIN)/python -c 'import torchvision' || { \
	  echo 'error: torchvision: not installed, and the tests read open_clip models'; \
	  echo '  fix: make clean test, where "$(PAIR)" can be installed, or make test PAIR="..."'; \
	  exit 2; } >&2
	$(PIP) install -q -e '.[dev]'
	@touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-browser: pyproject.toml $(VENV)/.installed-dev
	$(PIP) install -q -e '.[browser]'
	@touch $@
