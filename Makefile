# Everything that a working tree needs; each target installs what it uses.
# make (GNU) and Python 3.10 to 3.13 are enough to begin with.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help install demo test lint format clean

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Another project's environment that is active here is not ours to change.
export UV_PROJECT_ENVIRONMENT := $(VENV)
unexport VIRTUAL_ENV

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Leave .venv, and OpenSSH's server where you may install it
	@.ci/openssh

$(INSTALLED): pyproject.toml uv.lock .ci/uv
	@.ci/uv sync --locked
	@touch $@

demo: install ## Three jobs on a real Airflow, over a real SSH server; KEEP=1 leaves them up to look at
	@KEEP=$(KEEP) $(BIN)/python -m demo

test: install ## All tests; PYTEST="-m 'not airflow'" leaves out the real Airflow
	@$(BIN)/pytest -n auto --maxprocesses=4 --dist=loadgroup $(PYTEST)

lint: $(INSTALLED) ## What a change must pass besides the tests
	@.ci/lint

format: $(INSTALLED) ## Put the code into its form
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

clean: ## Remove all that the other targets made
	rm -rf $(VENV) .uv .demo .airflow dist build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
