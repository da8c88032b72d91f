# Needs make and Python 3.11 or newer; everything else is installed into .venv by `make setup`.
#
#   make setup           .venv with the command .venv/bin/cxkpi and all tools
#   make demo [FOR=90s]  broker, worker and generated events, shown live; FOR is a number with its
#                        unit, such as 90s or 5m
#   make check           lint, types, import contracts
#   make test            check, then the tests; ARGS="tests/core -k nps" runs some of them, JOBS=0
#                        runs them in one process, as --pdb and -s need it
#   make faults          all schedules of faults against real workers, an hour; ARGS="--kills 20"
#   make fuzz            random streams through the core and the reference, beside the tests;
#                        ARGS="--events 1000000 --seed 7", on a failure the smallest stream found
#   make mutants         mistakes made in the core, each of which the fast tests have to catch;
#                        ARGS="--only cart"
#   make bench           what an event costs, beside other processors; ARGS="--rounds 1" as options
#   make lock            renews the lock files after a change of dependencies in pyproject.toml;
#                        UPGRADE=--upgrade takes newer versions; needs uv
#   make clean           removes .venv, caches and builds

.DEFAULT_GOAL := setup
.DELETE_ON_ERROR:
.PHONY: setup demo check test faults fuzz mutants bench lock clean

# PYTHON names the interpreter; else the first one found that is new enough.
ifeq ($(strip $(PYTHON)),)
PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; \
	done)
endif
UV ?= uv
VENV := .venv
BIN := $(VENV)/bin
# Faust has no wheels for Linux on ARM. There it is made from its sources, which needs no compiler.
FROM_SOURCES := $(if $(filter Linux-aarch64,$(shell uname -s)-$(shell uname -m)),--no-binary faust-streaming)
# Python compiles what is imported when it is first imported, which is a fraction of all modules.
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore $(BIN)/python -m pip install --quiet --no-compile

setup: $(VENV)/.installed

# The stamp is older than a file that it depends on exactly when something has to be installed.
# With hashes pip takes no local project, so that one follows in a second step.
$(VENV)/.installed: pyproject.toml requirements-dev.lock
	@"$(or $(PYTHON),python3)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "cxkpi needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing into $(VENV) (once; takes about a minute)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV)
	@$(PIP) --require-hashes --only-binary :all: $(FROM_SOURCES) -r requirements-dev.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	@$(BIN)/cxkpi demo $(if $(FOR),--for $(FOR))

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# Two processes more than there are cores, since many tests wait for a broker or a worker; but each may
# start a broker of its own. Each takes tests in their order and from the end of what another has
# left, so that a file of long ones is no tail.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)
PARALLEL := --dist worksteal --maxprocesses 4

# Also where the surroundings forbid it: hundreds of processes would each compile what they import.
test: export PYTHONDONTWRITEBYTECODE =
test: check
	$(BIN)/python -m pytest $(PARALLEL) --numprocesses $(JOBS) $(ARGS)

faults: setup
	@$(BIN)/python -m tests.faults $(ARGS)

fuzz: setup
	@$(BIN)/python -m tests.fuzz $(ARGS)

mutants: setup
	@$(BIN)/python -m tests.mutants $(ARGS)

bench: setup
	@$(BIN)/python -m bench $(ARGS)

lock:
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: pipx install uv, or UV=/path/to/uv" >&2; exit 1; }
	$(UV) pip compile $(LOCK_OPTIONS) $(UPGRADE) pyproject.toml --group build --output-file requirements.lock
	$(UV) pip compile $(LOCK_OPTIONS) $(UPGRADE) pyproject.toml --group dev --output-file requirements-dev.lock

# One lock for all platforms and Python versions, with hashes and without addresses, so that it
# works with any mirror.
LOCK_OPTIONS := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command 'make lock'

clean:
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find stream tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
