# make run    start the demo; make run ARGS="run --backup.dir /data" starts the real thing
# make test   install what the tests need, and run them
#
# Everything Python goes into .venv, from locks with hashes. PYTHON=/path/to/python picks another.

ARGS ?= demo
PYTEST_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# What tests start that no wheel brings: command=Debian package.
TEST_COMMANDS := redis-server=redis-server promtool=prometheus chromium=chromium
IMAGE_COMMANDS := buildah=buildah mmdebstrap=mmdebstrap

.PHONY: help
help:
	@sed -n '1,4s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))
	@echo "other targets: lint test-long image lock system-packages clean"

# ---- running

# exec: one process in the foreground gets the terminal's signals, and nothing is left behind.
.PHONY: run
run: $(VENV)/.installed
	@exec $(BIN)/python -m exporter $(ARGS)

$(VENV)/.installed: pyproject.toml requirements-run.lock | $(BIN)/python
	@echo "installing into $(VENV)"
	@$(PIP) install --require-hashes -r requirements-run.lock
	@$(PIP) install --no-deps --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml requirements-dev.lock | $(BIN)/python
	@echo "installing into $(VENV), with the tools for tests"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@$(PIP) install --no-deps --editable .
	@touch $(VENV)/.installed $@

$(BIN)/python:
	@./.ci/make-venv "$(PYTHON)" $(VENV)

# ---- testing

.PHONY: test
test: system-packages $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -m "not long" $(PYTEST_ARGS)

.PHONY: test-long
test-long: system-packages $(VENV)/.installed-dev
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: lint
lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/hadolint Dockerfile

.PHONY: system-packages
system-packages:
	@./.ci/system-packages $(TEST_COMMANDS)

# ---- image

.PHONY: image
image:
	@./.ci/system-packages $(IMAGE_COMMANDS)
	@./tests/image/build
	@./tests/image/check

# ---- housekeeping

# Pins for every Python and platform at once; no address of a registry goes into the files.
UV_COMPILE = $(VENV)/.uv/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
	$(LOCK_ARGS) pyproject.toml

.PHONY: lock
lock: $(VENV)/.uv/bin/uv
	@$(UV_COMPILE) requirements-dev.in --extra demo --extra dev -o requirements-dev.lock
	@$(UV_COMPILE) --extra demo -c requirements-dev.lock -o requirements-run.lock
	@$(UV_COMPILE) -c requirements-dev.lock -o requirements.lock

$(VENV)/.uv/bin/uv: | $(BIN)/python
	@$(BIN)/python -m venv $(VENV)/.uv
	@$(VENV)/.uv/bin/python -m pip --disable-pip-version-check --quiet install uv

.PHONY: clean
clean:
	rm -rf $(VENV) .image build dist *.egg-info .*_cache .hypothesis
	find exporter tests -name __pycache__ -prune -exec rm -rf {} +
