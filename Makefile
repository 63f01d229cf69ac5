# Remit. `make run` needs Python 3.11 or newer and make; everything else it brings along.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
# `make test TESTS=tests/budgets` runs a part; `make test PYTEST="-k refund"` passes options on.
TESTS ?= tests
PYTEST ?=
WORKERS ?= 2
TEST_DATA ?= .data/test

BIN := .venv/bin
SERVICES := $(BIN)/python -m controlplane.services
BESIDE := $(SERVICES) exec --fresh $(TEST_DATA) -- $(BIN)/python -m pytest
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes
COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --quiet
SOURCES := controlplane agents approvals audit budgets bench tests manage.py

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run links open connect manage stop test fast real bench scale screenshots golden check migrate doctor reset format lock

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# -- setting up ------------------------------------------------------------------------------------------------------------------

# A virtual environment knows the path it was made at; a checkout that was moved gets a new one.
define make_venv
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo not there)"; \
	echo "  make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
@$(BIN)/python -c 'import sys; sys.exit(sys.prefix == sys.base_prefix)' 2>/dev/null || { \
	$(PYTHON) -m venv --clear .venv >.venv.log 2>&1 && rm -f .venv.log || { \
	$(PYTHON) -c 'import ensurepip' 2>/dev/null && cause="$(PYTHON) cannot make a virtual environment: $$(tail -n 1 .venv.log)" \
		|| cause="$(PYTHON) has no venv module, Debian and Ubuntu ship it as python3-venv"; \
	echo "$$cause"; echo "  sudo apt-get install -y python3-venv"; rm -rf .venv .venv.log; exit 1; }; }
endef

# uv installs in seconds what takes pip a minute, so pip brings uv first. Where uv cannot (it does not read pip's own
# configuration), pip does it all. A package that differs from its locked hash is refused either way.
define install
@echo "Installing the packages of $(1)"
@$(BIN)/uv --version >/dev/null 2>&1 || $(PIP) -r requirements-installer.txt >/dev/null 2>&1 || true
@$(BIN)/uv pip install --quiet --require-hashes --python $(BIN)/python -r $(1) 2>/dev/null || $(PIP) -r $(1) || { \
	echo "the packages of $(1) could not be installed"; echo "  $(BIN)/python -m pip install --require-hashes -r $(1)"; exit 1; }
endef

.venv/runtime.stamp: requirements.txt
	$(make_venv)
	$(call install,requirements.txt)
	@touch $@

.venv/dev.stamp: requirements-dev.txt
	$(make_venv)
	$(call install,requirements-dev.txt)
	@touch $@ .venv/runtime.stamp

setup: .venv/runtime.stamp ## the virtual environment with what runs Remit

setup-dev: .venv/dev.stamp ## the same with what tests it

# -- running ---------------------------------------------------------------------------------------------------------------------

run: setup ## everything with the demo, until Ctrl-C (HOST=, PORT=, JSON=1)
	@exec $(SERVICES) run --host $(HOST) --port $(PORT)

manage: setup ## a management command beside them, as in DO="demo trigger loop --wait"
	@$(SERVICES) exec -- $(BIN)/python manage.py $(DO)

links: setup ## fresh one-time links into the demo's console
	@$(SERVICES) exec -- $(BIN)/python manage.py demo links

open: setup ## a fresh link, opened in the browser
	@$(SERVICES) exec -- $(BIN)/python manage.py demo open

connect: setup ## a key for an agent of your own, and what to paste
	@$(SERVICES) exec -- $(BIN)/python manage.py demo connect

stop: setup ## the servers, if a run was killed before it could stop them
	@$(SERVICES) stop

migrate: setup ## bring the tables to this checkout
	@$(SERVICES) migrate

doctor: setup ## what is wrong, and the command that helps
	@$(SERVICES) doctor

reset: setup ## stop the servers and delete .data
	@$(SERVICES) reset

# -- testing ---------------------------------------------------------------------------------------------------------------------

test: setup-dev ## every test, beside servers of their own
	$(BESIDE) -n $(WORKERS) -m "not bench" $(TESTS) $(PYTEST)

fast: setup-dev ## the tests that take seconds
	$(BESIDE) -n $(WORKERS) -m "not bench and not real and not slow" $(TESTS) $(PYTEST)

real: setup-dev ## the recorded runs, through the public doors, with a score a line
	$(SERVICES) exec --fresh .data/real -- $(BIN)/python -m tests.real

bench: setup-dev ## what a governed call costs, beside its peers
	$(SERVICES) exec --fresh .data/bench -- $(BIN)/python -m bench

screenshots: setup-dev ## pictures of every page of the demo; the README's into docs/screenshots (NAME= for some)
	$(BIN)/python -m tests.screenshots "$(NAME)"

scale: setup-dev ## how long pages take at a million runs (needs 15 GB for as long as it runs)
	$(SERVICES) exec --fresh .data/scale -- $(BIN)/python -m bench.scale

golden: setup-dev ## rewrite the golden files; then review them line by line
	GOLDEN=write $(BESIDE) -n 0 -p no:randomly tests/golden $(PYTEST)
	@git --no-pager diff --stat -- tests

check: setup-dev ## lint, format, layers, types, Django's own checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(SERVICES) exec -- $(BIN)/mypy $(SOURCES)
	$(SERVICES) exec -- $(BIN)/python manage.py check
	$(SERVICES) exec -- $(BIN)/python manage.py makemigrations --check --dry-run

format: setup-dev ## let ruff lay out the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: setup-dev ## resolve pyproject.toml into the requirements files
	$(COMPILE) pyproject.toml -o requirements.txt
	$(COMPILE) pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt
	$(COMPILE) requirements-installer.in -o requirements-installer.txt
