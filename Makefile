# Everything that people and CI run. `make run` and `make test` do their own set-up on a fresh machine.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.setup
BENCHES := $(patsubst benchmarks/bench_%.py,bench-%,$(wildcard benchmarks/bench_*.py))

.PHONY: help setup models run test check bench clean cluster cluster-down cluster-host cluster-image e2e e2e-full $(BENCHES)

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(SETUP) ## build .venv with everything that run, test and the benches need

$(SETUP): pyproject.toml constraints.txt setup.sh
	@PYTHON=$(PYTHON) ./setup.sh $(VENV)
	@touch $@

models: $(SETUP) ## build the weights of model_repo/ from code, with fixed seeds
	@$(BIN)/python model_repo/build.py

run: models ## the main job: plan, serve and verify manifests/examples/digits.yaml on a real Triton
	@$(BIN)/kserve-ext run manifests/examples/digits.yaml --out out

test: models ## run the tests
	@$(BIN)/pytest -n 2 --dist worksteal -q

check: $(SETUP) ## format, lint, types, layering
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

cluster: models ## a kind cluster with Knative, KServe and our runtimes; SET=full for more, variables in `… -m e2e.cluster --help`
	@$(BIN)/python -m e2e.cluster up

cluster-down: $(SETUP) ## remove it, all but its cache
	@$(BIN)/python -m e2e.cluster down

cluster-host: $(SETUP) ## install Debian's container engine and start it (root)
	@$(BIN)/python -m e2e.cluster host

cluster-image: $(SETUP) ## build DOCKERFILE=… as IMAGE=… and load it into the cluster
	@$(BIN)/python -m e2e.cluster image $(DOCKERFILE) $(IMAGE)

e2e: $(SETUP) ## the end-to-end tests, on the cluster of `make cluster`
	@$(BIN)/python -m pytest e2e -q --timeout 900 -m "not full"

e2e-full: $(SETUP) ## those that need SET=full too
	@$(BIN)/python -m pytest e2e -q --timeout 900

bench: models ## run every benchmark; figures go to out/bench/NAME.json; one that cannot run does not keep others from it
	@$(MAKE) --keep-going --no-print-directory $(BENCHES)

$(BENCHES): bench-%: models
	@$(BIN)/python -m benchmarks.bench_$*

clean: ## remove what was built and measured; profiles measured here too
	@rm -rf out $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@git clean -fdxq model_repo
