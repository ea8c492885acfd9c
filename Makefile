# Everything starts here. `make` lists the targets. The environment is made from uv.lock, in .venv, by whichever target needs it.

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
export UV_PYTHON_DOWNLOADS := never
export PIP_ROOT_USER_ACTION := ignore
TIDEGAUGE := .venv/bin/tidegauge

# The demo's settings, each of them optional: make demo HEADLESS=1 MINUTES=8 OUT=out TRACE=file.csv SPEED=60
HEADLESS ?=
MINUTES ?= 8
SPEED ?= 60
OUT ?=
TRACE ?=
DATA ?= .tidegauge

# The benchmarks': where the traces are, and where figures go
TRACES ?= ../shared/traces
JSON ?=
RECORD ?= 100M

# Where `make kube` puts its programs; KUBE_BUILD_JOBS=2 builds on two CPUs
KUBE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tidegauge/kube

.DEFAULT_GOAL := help
.PHONY: help install demo up test test-faults check unit bench-forecast bench-record bench-dashboard bench-loadgen format clean bench-app test-ablation kube test-kube bench-policy

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: .venv/.synced ## Import history, play a day's peak in minutes on the embedded stack, scale ahead of it
	@$(TIDEGAUGE) demo --data '$(DATA)' --minutes '$(MINUTES)' --speed '$(SPEED)' \
	  $(if $(filter-out 0,$(HEADLESS)),--headless) $(if $(OUT),--out '$(OUT)') $(if $(TRACE),--trace '$(TRACE)')

install: .venv/.synced ## Make the environment in .venv

up: .venv/.synced ## Start the embedded stack in real time, until Ctrl-C
	@$(TIDEGAUGE) up --data '$(DATA)'

# Tests wait more than they work, so they go side by side; whole stacks no more than two at a time, the longest first.
test: .venv/.synced ## Run all tests (those that need a missing program skip, and say so)
	@.venv/bin/pytest -m 'not faults and not e2e' -n 3 --dist loadfile; failed=$$?; \
	  .venv/bin/pytest -m e2e -n 2 --dist loadfile tests/kubernetes tests/e2e && exit $$failed

unit: .venv/.synced ## Run the unit tests only: seconds, no network, no servers
	@.venv/bin/pytest -n 2 --dist loadfile tests/unit

test-faults: .venv/.synced ## Kill, freeze, fill and step: nothing acknowledged is lost (half an hour; FAULTS_SEED=1)
	@.venv/bin/pytest -m faults -s -v tests/faults

check: .venv/.synced ## Lint, types and the architecture's contracts
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache

bench-forecast: .venv/.synced ## Score the forecasts on real traces (TRACES=folder) beside the naive baselines
	@.venv/bin/python -m benchmarks.forecast --traces '$(TRACES)' $(if $(JSON),--json '$(JSON)')
	@.venv/bin/python -m benchmarks.outlook --traces '$(TRACES)'
	@.venv/bin/python -m benchmarks.forecast_speed

bench-record: .venv/.synced ## Measure the record, and the dashboard over RECORD=100M events (0: not at all)
	@.venv/bin/python -m benchmarks.record --record '$(RECORD)'

bench-dashboard: .venv/.synced ## Measure every page in a browser over RECORD=100M events (cold, opened, clicked)
	@.venv/bin/python -m benchmarks.dashboard --events '$(RECORD)'

bench-loadgen: .venv/.synced ## Measure the load generator beside others; writes out/loadgen-benchmark.json
	@mkdir -p out && .venv/bin/python -m benchmarks.loadgen --out out/loadgen-benchmark.json

bench-app: .venv/.synced ## Measure the booking API: 10,000 users, caches, replicas, middleware; writes out/app-benchmark.json
	@mkdir -p out && .venv/bin/python -m benchmarks.app --json out/app-benchmark.json

test-ablation: .venv/.synced ## Switch off each measure of the booking API: does its test notice?
	@mkdir -p out && .venv/bin/python -m tests.ablation --json out/ablation.json

kube: ## Build a real Kubernetes API server and controller manager for the tests (Go and etcd wanted; a quarter of an hour)
	@nice -n 19 tests/kubernetes/build-kube.sh '$(KUBE)'

test-kube: .venv/.synced kube ## Test the Kubernetes actuator on them, and the simulated autoscaler against the real one
	@KUBEBUILDER_ASSETS='$(KUBE)' .venv/bin/pytest -n 2 --dist loadfile tests/kubernetes

bench-policy: .venv/.synced ## Play scaling policies on real traces (TRACES=folder); writes out/policy-benchmark.json
	@mkdir -p out && .venv/bin/python -m benchmarks.policy --traces '$(TRACES)' --data out/policy-forecasts \
	  --json out/policy-benchmark.json

format: .venv/.synced ## Format the code
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

clean: ## Remove the environment and all state of the embedded stack
	rm -rf .venv .uv .tidegauge out .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/.synced: pyproject.toml uv.lock $(if $(filter .uv/bin/uv,$(UV)),.uv/bin/uv)
	@$(UV) sync --locked --quiet
	@touch $@

# uv comes through pip where it is missing; into a folder of the project, so that no system package is touched.
.uv/bin/uv:
	@for pip in '$(PYTHON) -m pip' pip3 pip; do \
	  $$pip --version >/dev/null 2>&1 && exec $$pip install --quiet --disable-pip-version-check --target .uv uv; \
	done; echo 'make: neither uv nor pip was found: install one of them' >&2; exit 1
