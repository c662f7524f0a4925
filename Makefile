# make run    start the demo; make run ARGS="run --backup.dir /data" starts the real thing
# make test   install what the tests need, and run them
#
# Everything Python goes into .venv, from locks with hashes. PYTHON=/path/to/python picks another.

ARGS ?= demo
PYTEST_ARGS ?=
BENCH_ARGS ?=
FUZZ_SECONDS ?= 3600
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# What tests start that no wheel brings: command=Debian package.
TEST_COMMANDS := redis-server=redis-server promtool=prometheus chromium=chromium
IMAGE_COMMANDS := buildah=buildah mmdebstrap=mmdebstrap

# The native engine: what it is built from, and by which cargo (or why by none). That is looked up
# each time, so that a Rust that came, went or grew too old since is seen.
NATIVE := exporter/_native.abi3.so
CRATE := exporter/native
CRATE_FILES := setup.py $(CRATE)/toolchain.py $(CRATE)/Cargo.toml $(CRATE)/Cargo.lock \
	$(shell find $(CRATE)/src)
RUST := $(VENV)/.rust
WITH_RUST = PATH="$$(cat $(RUST)):$$PATH" PYO3_PYTHON="$(CURDIR)/$(BIN)/python"

.PHONY: help
help:
	@sed -n '1,4s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))
	@echo "other targets: lint test-long bench fuzz image lock system-packages clean"

# ---- running

# exec: one process in the foreground gets the terminal's signals, and nothing is left behind.
.PHONY: run
run: $(VENV)/.installed
	@[ -e $(NATIVE) ] || ./.ci/without-native $(RUST)
	@exec $(BIN)/python -m exporter $(ARGS)

$(VENV)/.installed: pyproject.toml $(CRATE_FILES) $(RUST) $(VENV)/.requirements | $(BIN)/python
	@echo "installing into $(VENV)"
	@$(PIP) install --no-deps --editable .
	@touch $@

# Tests have no use for a package without its engine; one that is missing is built again.
$(VENV)/.installed-dev: pyproject.toml $(CRATE_FILES) $(RUST) $(VENV)/.requirements-dev \
		$(if $(wildcard $(NATIVE)),,FORCE) | $(BIN)/python rust
	@echo "installing into $(VENV), with the native engine"
	@REQUIRE_NATIVE=1 $(PIP) install --no-deps --editable .
	@touch $(VENV)/.installed $@

$(VENV)/.requirements: requirements-run.lock | $(BIN)/python
	@echo "installing the dependencies into $(VENV)"
	@$(PIP) install --require-hashes -r requirements-run.lock
	@touch $@

$(VENV)/.requirements-dev: requirements-dev.lock | $(BIN)/python
	@echo "installing the dependencies into $(VENV), with the tools for tests"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $(VENV)/.requirements $@

$(BIN)/python:
	@./.ci/make-venv "$(PYTHON)" $(VENV)

# ---- testing

.PHONY: test
test: rust system-packages $(VENV)/.installed-dev test-crate
	@$(BIN)/python -m pytest -m "not long" $(PYTEST_ARGS)

.PHONY: test-long
test-long: rust system-packages $(VENV)/.installed-dev test-crate
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: test-crate
test-crate: $(RUST) | rust
	@echo "testing the crate"
	@$(WITH_RUST) cargo test --quiet --locked --no-default-features --manifest-path $(CRATE)/Cargo.toml

.PHONY: lint
lint: $(VENV)/.installed-dev $(RUST)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/hadolint Dockerfile
	@$(WITH_RUST) ./.ci/lint-crate $(CRATE)/Cargo.toml

.PHONY: bench
bench: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.bench $(BENCH_ARGS)

# What it finds is kept by: make fuzz FUZZ_SECONDS=keep
.PHONY: fuzz
fuzz: $(RUST) | rust
	@$(WITH_RUST) ./$(CRATE)/fuzz/run $(FUZZ_SECONDS)

# One line about what to install, before anything else is.
.PHONY: rust
rust: | $(BIN)/python
	@$(BIN)/python $(CRATE)/toolchain.py >/dev/null

$(RUST): FORCE | $(BIN)/python
	@found=$$($(BIN)/python $(CRATE)/toolchain.py 2>&1) || true; \
		[ "$$found" = "$$(cat $@ 2>/dev/null)" ] || echo "$$found" >$@

.PHONY: FORCE
FORCE:

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
	rm -rf $(VENV) $(CRATE)/target $(CRATE)/fuzz/target .image build dist *.egg-info .*_cache .hypothesis exporter/_native.*.so
	find exporter tests -name __pycache__ -prune -exec rm -rf {} +
