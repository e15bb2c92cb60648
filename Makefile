.DEFAULT_GOAL := help
.PHONY: help setup run up test property clock soak fairness lint types imports build lock clean

PYTHON ?=
BIN := .venv/bin
SETUP := PYTHON="$(PYTHON)" sh deploy/setup.sh
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
	--python-version 3.11 pyproject.toml

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv with everything that running needs
	@$(SETUP) run

run: ## run examples/lead-intake.yaml on an embedded cluster
	@$(SETUP) run
	@$(BIN)/nexusflow run examples/lead-intake.yaml --input leads=@examples/leads.csv --input owner=owner@example.com

up: ## run the cluster in the foreground: address, API key and page (ARGS="--port 9000")
	@$(SETUP) run
	@$(BIN)/nexusflow up $(ARGS)

test: ## run the tests on private RabbitMQ, PostgreSQL and Redis servers
	@$(SETUP) dev
	@$(BIN)/python -m tests.servers.install
	$(BIN)/pytest -m "not property" $(ARGS)

property: ## run the long property tests
	@$(SETUP) dev
	@$(BIN)/python -m tests.servers.install
	$(BIN)/pytest -m property $(ARGS)

clock: ## two beats and a killed one under a schedule of one second (MINUTES=5)
	@$(SETUP) dev
	@$(BIN)/python -m tests.servers.install
	$(BIN)/python -m benchmarks.clock --minutes $(or $(MINUTES),5)

soak: ## mixed load at half of this machine's capacity: does anything grow? (MINUTES=60)
	@$(SETUP) dev
	@$(BIN)/python -m tests.servers.install
	$(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),60)

fairness: ## one tenant floods the cluster; how long does another wait? (ARGS="--runs 10000 --seconds 60")
	@$(SETUP) dev
	@$(BIN)/python -m tests.servers.install
	$(BIN)/python -m benchmarks.fairness $(ARGS)

lint: ## check style and format
	@$(SETUP) dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: ## check types
	@$(SETUP) dev
	$(BIN)/mypy

imports: ## check who imports whom
	@$(SETUP) dev
	$(BIN)/lint-imports

build: ## build the wheel and check what is in it
	@$(SETUP) dev
	$(BIN)/python deploy/check_wheel.py

lock: ## lock the newest allowed versions of all dependencies
	@$(SETUP) dev
	$(COMPILE) --upgrade --group build -o requirements.lock
	$(COMPILE) --upgrade --group dev -c requirements.lock -o requirements-dev.lock

clean: ## remove what was built or cached, .venv included (data in .nexusflow stays)
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis .setup.lock
	find . -name __pycache__ -type d -not -path './.nexusflow/*' -prune -exec rm -rf {} +
