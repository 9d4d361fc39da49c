# Everything that a working tree needs; each target installs what it uses.
# make (GNU) and Python 3.10 to 3.13 are enough to begin with.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help install demo test faults bench lint format clean

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Compared with, and never in the same environment.
AIRFLOW_SUPERVISOR := airflow-supervisor==1.11.3 supervisor-pydantic==1.5.2 airflow-ha==1.6.7
PEERS_THERE = { [[ -e .peers/bin/python ]] || { .ci/uv venv --quiet .peers && \
	.ci/uv pip install --quiet --python .peers/bin/python $(AIRFLOW_SUPERVISOR); }; }
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

# One more than processors: the worker with the real Airflow mostly waits for it.
WORKERS := $(shell echo $$(($$(nproc) < 3 ? $$(nproc) + 1 : 4)))

test: install ## All tests; PYTEST="-m 'not airflow'" leaves out the real Airflow
	@$(BIN)/pytest -n $(WORKERS) --dist=loadgroup $(PYTEST)

# Each fault so often; the same seed throws the same dice. 10 take about an hour on two processors, with those of others.
N ?= 10
SEED := $(or $(SEED),$(shell date +%s))
PEERS ?= 1
FAULTS ?= tests/faults tests/e2e

faults: install ## Break things, N times each, and write the table of docs/explanation/reliability.md; SEED=… repeats
	@rm -rf .faults; status=0; \
	TRIALS=$(N) SEED=$(SEED) FAULTS_FILE=.faults/found.json \
	    $(BIN)/pytest -q -m promise -n $(WORKERS) --dist=loadgroup $(PYTEST) $(FAULTS) || status=$$?; \
	if [[ $(PEERS) = 1 ]]; then \
	    $(PEERS_THERE) || true; \
	    $(BIN)/python -m tests.faults.peers --trials $(N) --seed $(SEED) .faults/peers.json || status=$$?; \
	fi; \
	$(BIN)/python -m tests.faults.campaign.table && exit $$status

# Compared with, in an environment of its own with the same Airflow.
DAG_FACTORY := dag-factory==1.1.0
ONLY ?=

bench: install ## Measure what it costs beside what people use, and write docs/explanation/performance.md; ONLY="exits idle", QUICK=1
	@[[ -e .bench/dag-factory/bin/python ]] || { .ci/uv venv --quiet .bench/dag-factory && \
	    .ci/uv pip install --quiet --python .bench/dag-factory/bin/python $(DAG_FACTORY) \
	        "apache-airflow==$$($(BIN)/python -c 'from importlib.metadata import version; print(version("apache-airflow"))')"; } || true
	@$(PEERS_THERE) || true
	@$(BIN)/python -m bench $(if $(QUICK),--quick) $(ONLY)

lint: $(INSTALLED) ## What a change must pass besides the tests
	@.ci/lint

format: $(INSTALLED) ## Put the code into its form
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

clean: ## Remove all that the other targets made
	rm -rf $(VENV) .uv .demo .airflow .faults .peers .bench dist build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
