# Everything a developer types. `make` alone lists it.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The first of these that is 3.11 or newer; `make PYTHON=/path/to/python3` names one.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3 python,\
	$(shell $(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))

.PHONY: help install dev demo test browser screenshots red crash chaos topology year rehearse upgrade bench bench-smoke check fix lock clean

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

install: $(STAMP) ## make .venv from the lock file

$(STAMP): requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Authpipe needs Python 3.11 or newer and finds none; install it, or run: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -x $(BIN)/pip || "$(PYTHON)" -m venv $(VENV)
	@echo "installing into $(VENV) (from requirements-dev.lock)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

# The leash ends the stack should make itself be killed; $$PPID is make.
dev: $(STAMP) ## run everything here, until Ctrl-C
	@exec $(BIN)/python -I -S runtime/leash.py $$PPID $(BIN)/python -m runtime.cli dev

demo: $(STAMP) ## walk through a whole life, step by step
	@$(BIN)/python -m runtime.cli demo

test: $(STAMP) ## run the tests
	@$(BIN)/python -m pytest -n 3 -m "not slow"

browser: $(STAMP) ## walk through the pages in the system's Chromium, the long ways too
	@$(BIN)/python -m pytest tests/browser tests/docs/test_readme_commands.py

screenshots: $(STAMP) ## make the README's pictures in docs/images (needs Chromium)
	@$(BIN)/python -m tests.browser.screenshots

red: $(STAMP) ## break each law in a copy and require that its tests fail; ONLY=law_05 for one
	@$(BIN)/python tests/laws/red.py $(ONLY)

crash: $(STAMP) ## kill, stop and cut everything at every crash point (minutes)
	@$(BIN)/python -m pytest tests/crash tests/end_to_end/test_kills.py tests/runtime/reconciling tests/runtime/test_dev.py tests/properties tests/end_to_end/in_process/test_store_lost.py

# The second is run, and its figures are printed, whatever came of the first.
chaos: $(STAMP) ## ten minutes of kills and faults under load; MINUTES=, SEED=, CONNECTIONS=
	@$(BIN)/python -m tests.chaos.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
		$(if $(CONNECTIONS),--connections $(CONNECTIONS)); \
	soak=$$?; $(BIN)/python -m tests.chaos.detection; detection=$$?; \
		$(BIN)/python -m pytest tests/end_to_end/in_process/test_outage.py && exit $$((soak + detection))

topology: $(STAMP) ## two APIs and three workers, added, removed and killed under load; SECONDS=, SEED=, CONNECTIONS=
	@$(BIN)/python -m tests.topology $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(CONNECTIONS),--connections $(CONNECTIONS))

year: $(STAMP) ## connection-years in a minute; then a year and ninety days in simulated time (an hour); ARGS="--connections 10000" for whole years
	@$(BIN)/python -m tests.years $(ARGS)
	@$(BIN)/python -m pytest -m slow -k "ninety_days or two_days or for_a_year" tests/end_to_end

rehearse: $(STAMP) ## build as the image does, back the vault up, restore it into an empty engine
	@$(BIN)/python -m pytest tests/deploy tests/end_to_end/test_doctor.py tests/end_to_end/test_telemetry.py tests/runtime/test_sigterm.py

upgrade: $(STAMP) ## let workers of a new build, and migrations of a new version, take over while everything runs
	@$(BIN)/python -m pytest tests/upgrade

bench: $(STAMP) ## measure reads, refreshes, wakes, idle connections and a herd (three quarters of an hour); ONLY=read for one, WRITE=1 for docs
	@$(BIN)/python -m bench $(ONLY) $(if $(WRITE),--write)

bench-smoke: $(STAMP) ## see that each part of the bench measures the real thing, with few of everything
	@$(BIN)/python -m pytest tests/bench

check: $(STAMP) ## lint, format, strict types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python -m mypy
	@$(BIN)/lint-imports

fix: $(STAMP) ## let ruff repair what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# uv resolves for every platform at once and writes hashes without addresses; it lives in a venv of its own.
# The server's lock holds the build backend too, since our own package is built without isolation.
LOCK := $(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate

lock: ## resolve the dependencies anew (needs the package index)
	@test -x $(VENV)-lock/bin/uv || { "$(PYTHON)" -m venv $(VENV)-lock && $(VENV)-lock/bin/pip install --quiet uv; }
	@$(LOCK) --upgrade pyproject.toml --extra dev --output-file requirements-dev.lock
	@echo hatchling | $(LOCK) --constraints requirements-dev.lock pyproject.toml - --output-file requirements.lock
	@! grep -nE '://|^-|file:' requirements.lock requirements-dev.lock

clean: ## remove .venv; the data in .authpipe stays
	rm -rf $(VENV) $(VENV)-lock
