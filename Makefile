# Every target sets up what it needs; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := 0.13.8
COMPETITIONS := $(subst _,-,$(notdir $(patsubst %/competition.py,%,$(wildcard competitions/*/competition.py))))
COMP := $(BIN)/python -m comp
ARGS ?=
# Test workers: one more than there are cores, because some tests wait for a process or a server.
WORKERS = $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')

# Without bytecode on disk each process would compile torch and timm again, which takes longer than most tests.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo new test test-long test-real test-reliability test-kills lint format lock $(COMPETITIONS) \
	$(COMPETITIONS:%=%-submit)

help: ## Show this list
	@echo "make TARGET [ARGS=\"...\"]"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | awk -F'|' '{ printf "%-24s%s\n", $$1, $$2 }'
	@for name in $(COMPETITIONS); do \
		printf "  %-22s%s\n" "$$name" "Download, train, predict, write the submission" "$$name-submit" "The same, and submit it"; done

setup: $(VENV)/.ready ## Create the virtual environment .venv from requirements.lock

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "comp needs Python 3.11 or newer; name one with PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: setup ## The whole flow, offline: handwritten digits from a local Kaggle to its leaderboard
	COMP_HOME=demo COMP_KAGGLE_URL= $(COMP) run digits --submit $(ARGS)
	@echo "open report.html in that folder; COMP_HOME=demo $(BIN)/comp board shows runs and leaderboard as a page"
	@echo "next: make help, then make new for your own competition"

new: setup ## Create a competition's folder: NAME=flowers KAGGLE=its-slug [DATASET=owner/slug], or DATA=its-folder
	@test -n "$(NAME)" || { echo "Name it: make new NAME=flowers KAGGLE=its-slug, or with DATA=its-folder" >&2; exit 2; }
	$(COMP) new "$(NAME)" $(if $(KAGGLE),--kaggle "$(KAGGLE)") $(if $(DATASET),--dataset "$(DATASET)") $(if $(DATA),--data "$(DATA)") $(ARGS)

test: setup ## Run the tests, except the long ones and those on the real competitions' images
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --ignore=tests/real $(ARGS)

test-long: setup ## Run the tests that start clusters, processes or notebooks, and further cases
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --ignore=tests/real -m "long and not full" $(ARGS)

test-real: setup ## Run the tests on real images (they need ../shared)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup tests/real $(ARGS)

test-reliability: setup ## Run all cases of the tests of failures, custom parts and benchmarks
	$(BIN)/python -m pytest tests/reliability tests/open tests/benchmarks -m "full or not full" $(ARGS)

test-kills: setup ## Kill two hundred runs at random, and compare their results (an hour or two)
	$(BIN)/python -m pytest tests/reliability/test_kills.py -m full -s $(ARGS)

lint: setup ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## Fix style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.DEFAULT:
	@echo "There is no target '$@': 'make help' lists all; a competition's is its name." >&2; exit 2

lock: setup ## Resolve pyproject.toml again into requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 --group dev \
		--custom-compile-command "make lock" --no-emit-index-url pyproject.toml --output-file requirements.lock

$(COMPETITIONS): setup
	$(COMP) run $@ $(ARGS)

$(COMPETITIONS:%=%-submit): setup
	$(COMP) run $(@:%-submit=%) --submit $(ARGS)
