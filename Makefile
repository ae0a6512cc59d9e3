# Everything that is done with this project. `make` prints the targets.
# Needs Python 3.11 or later, make and a C library; the rest is installed into .venv and .local, from Pipfile.lock.

PYTHON ?= python3
PY := .venv/bin/python
PIPENV := PIPENV_IGNORE_VIRTUALENVS=1 PIPENV_VENV_IN_PROJECT=1 PIPENV_NOSPIN=1 PIP_CONFIG_FILE=/dev/null .local/tools/bin/python -m pipenv
COMPOSE := $(PYTHON) tools/compose.py
ARGS ?=

# What an activated environment or a shell's profile leaves behind must not reach our own environment.
unexport PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONOPTIMIZE PYTHONWARNINGS PYTHONDONTWRITEBYTECODE PYTHONUSERBASE
unexport VIRTUAL_ENV

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help run test faults check lint examples migrate bench demo screenshots up observe down logs infra fmt lock audit clean always

help: ## print this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r target text; do printf '%-14s %s\n' "$$target" "$$text"; done

run: .venv/.run ## serve on http://127.0.0.1:8000 with a PostgreSQL of its own; Ctrl-C stops all
	@exec $(PY) coffer.py

test: .venv/.test ## run the tests, with the services they need: make test ARGS="-k deposit --ignore-highload"
	@$(PY) -m pytest $(ARGS)

faults: .venv/.test ## kill everything under load and count what is lost, in the long form (15 minutes)
	@COFFER_TEST_FAULT_SECONDS=20 $(PY) -m pytest -n0 faults RestAPI/tests/test_faults.py $(ARGS)

check: lint ## what CI runs: formatting, types, import rules, dependencies, the lock, then the tests
	@$(MAKE) test

lint: .venv/.test ## the same without the tests
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(PY) -c 'from importlinter.cli import lint_imports_command as lint; lint()'
	@mkdir -p .local
	@$(PIPENV) requirements --from-pipfile --exclude-markers | sed '/^-i/d' >.local/requirements.txt
	@$(PIPENV) requirements --from-pipfile --exclude-markers --dev-only | sed '/^-i/d' >.local/requirements-dev.txt
	$(PY) -m deptry .
	@$(PIPENV) verify

examples: .venv/.test ## write the examples of /docs anew, from tests_data
	@$(PY) -m testkit.examples

migrate: .venv/.run ## bring the configured database (or the one of make run) to the newest tables
	@$(PY) -m RestAPI migrate

bench: .venv/.test ## measure the service on this machine: make bench ARGS="--help"
	@$(PY) -m benchmarks $(ARGS)

demo: .venv/.run ## let things happen in the service of make run: make demo ARGS="--rate 50 --seconds 60"
	@exec $(PY) -m tools.demo $(ARGS)

screenshots: .venv/.test ## take the pictures of the pages in docs/screenshots anew (needs Chromium)
	@mkdir -p docs/screenshots
	@COFFER_TEST_SCREENSHOTS=$(CURDIR)/docs/screenshots $(PY) -m pytest -n0 RestAPI/tests/browser/test_screenshots.py $(ARGS)

up: ## build and start everything in containers, wait until it is ready and print the address
	@$(COMPOSE) up

observe: ## the same with Prometheus and Grafana, which watch it
	@$(COMPOSE) observe

down: ## stop the containers; their volumes stay
	@$(COMPOSE) down

logs: ## follow the containers' logs: make logs ARGS=web
	@$(COMPOSE) logs $(ARGS)

infra: ## start only PostgreSQL, Redis and RabbitMQ in containers, for development
	@$(COMPOSE) infra

fmt: .venv/.test ## format the code and mend what can be mended
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

lock: ## write Pipfile.lock anew, with the newest versions that Pipfile allows
	@$(PYTHON) tools/environment.py lock

audit: .venv/.test ## ask for known vulnerabilities of the locked packages (needs the network)
	@$(PIPENV) requirements --hash --categories "packages local" >.local/requirements-audit.txt
	$(PY) -m pip_audit --strict --require-hashes --disable-pip -r .local/requirements-audit.txt

clean: ## remove the environments and the caches; the wallets in .local/postgres stay
	rm -rf .venv .local/tools .local/virtualenv .local/matplotlib .local/*.log .local/requirements* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environments. The stamp of .venv says for what it is complete: to run, or to test as well.

.venv/.run: Pipfile.lock tools/environment.py tools/pipenv-requirements.txt $(if $(wildcard $(PY)),,always)
	$(call sync,run)

.venv/.test: Pipfile.lock tools/environment.py tools/pipenv-requirements.txt $(if $(wildcard $(PY)),,always)
	$(call sync,test)
	@touch .venv/.run

define sync
	@command -v "$(PYTHON)" >/dev/null || { echo 'There is no $(PYTHON) here. Install Python 3.11 or later, or name it: make PYTHON=python3.12 $(MAKECMDGOALS)' >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed, but $(PYTHON) is $$("$(PYTHON)" --version). Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" tools/environment.py $(1)
	@touch $@
endef
