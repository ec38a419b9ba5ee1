# What a newcomer needs; `make help` lists it. Nothing here needs more than make, a C compiler and Python 3.11 to 3.13.

PYTHON ?= python3
VENV ?= .venv

BIN := $(VENV)/bin
# One stamp for each Python that was asked for, so that another PYTHON is noticed.
STAMP := $(VENV)/.setup-$(subst /,-,$(PYTHON))
SOURCES := policies service client/truestock_client examples/python tests tools $(if $(wildcard bench/*.py),bench)

.DEFAULT_GOAL := help
.PHONY: help setup run check-rules demo test test-fast test-long vendors check check-speed fmt bench mutate protos schema \
  locust load dashboards client sbom licenses clean

help: ## List what can be made
	@echo "make setup PYTHON=python3.12 chooses a Python; VENV=folder another environment."
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with everything that Truestock and its development need

$(STAMP): pyproject.toml uv.lock Makefile tools/setup
	@PYTHON="$(PYTHON)" VENV="$(VENV)" tools/setup
	@touch $@

# The service names its options where one has to be changed; here they are variables.
run: setup ## Serve with an embedded database, data in .data/; ADDRESS=host:port and RULES=folder change the defaults
	@$(BIN)/truestock serve $(if $(ADDRESS),--address "$(ADDRESS)") $(if $(RULES),--rules "$(RULES)") \
	  $(if $(METRICS_ADDRESS),--metrics-address "$(METRICS_ADDRESS)") $(if $(DATA_DIR),--data-dir "$(DATA_DIR)") \
	|| { code=$$?; [ $$code -ne 1 ] || echo "make takes the options as variables: make run ADDRESS=127.0.0.1:50061 \
	METRICS_ADDRESS=127.0.0.1:9465 DATA_DIR=folder DATABASE_URL=url RULES=folder" >&2; exit $$code; }

check-rules: setup ## Check the rules and run their tests; RULES=folder checks another folder
	@$(BIN)/truestock check "$(or $(RULES),rules)"

demo: setup ## Watch a temporary Truestock get through a bad day, in a minute; SEED=number changes its figures
	@$(BIN)/python -m bench.demo $(if $(SEED),--seed "$(SEED)")

test: setup ## Check the rules, then run every test but the long ones
	$(BIN)/truestock check rules/
	$(BIN)/python -m pytest -n 2 -m "not long"

# What runs without PostgreSQL, and one order through a real service on a real one.
test-fast: setup ## Check the rules, then run the tests that need no database; under a minute
	$(BIN)/truestock check rules/
	$(BIN)/python -m pytest -n 2 -m "smoke or not (database or long or thorough)"

test-long: setup ## Run the long tests: more random operations, races and crashes; takes minutes
	$(BIN)/python -m pytest -n 2 -m long

vendors: setup ## Install the channels' own clients, by which tests check ours; needs npm, a minute
	@PYTHON="$(PYTHON)" VENV="$(VENV)" GROUP=vendors tools/setup
	@touch $(STAMP)
	$(BIN)/python tools/vendor_clients.py

check: setup ## Lint, format, types, imports between packages, protos and their stubs, schemas, dashboards
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports
	$(BIN)/python tools/protos.py lint
	$(BIN)/python tools/protos.py check
	$(BIN)/python -m tools.schema check
	$(BIN)/python -m tools.dashboards check

check-speed: setup ## Measure the CPU time of six calls; fails when one is above its bound in bench/speed_bounds.toml
	$(BIN)/python -m bench check-speed

fmt: setup ## Apply ruff's fixes and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

locust: setup ## Install Locust, with which `make load` and a long test load a service
	@PYTHON="$(PYTHON)" VENV="$(VENV)" GROUP="$(if $(wildcard $(BIN)/../lib/python3*/site-packages/square),vendors )load" tools/setup
	@touch $(STAMP)

load: locust ## Load a temporary service with Locust for 30 s; PROFILE=spike|steady|feeds USERS=40 SECONDS=30 WEB=yes change it
	@$(BIN)/python -m bench load $(if $(PROFILE),--profile "$(PROFILE)") $(if $(USERS),--users "$(USERS)") \
	  $(if $(SECONDS),--seconds "$(SECONDS)") $(if $(WEB),--web) $(if $(ADDRESS),--address "$(ADDRESS)") \
	  $(if $(DATABASE_URL),--database-url "$(DATABASE_URL)")

bench: setup ## Run all benchmarks and write bench/RESULTS.md; takes minutes
	$(BIN)/python -m bench run all

protos: setup ## Generate the Python stubs beside the .proto files, and copy what these import of googleapis
	$(BIN)/python tools/protos.py generate

schema: setup ## Generate the JSON Schemas by which editors complete rule files
	$(BIN)/python -m tools.schema generate

dashboards: setup ## Generate the Grafana dashboards in deploy/grafana/
	$(BIN)/python -m tools.dashboards generate

sbom: setup ## Write dist/truestock.cdx.json: what a service consists of, as CycloneDX, from uv.lock and without a network
	@mkdir -p dist
	@$$(command -v uv || echo .uv/bin/uv) export --frozen --offline --quiet --no-dev --all-extras --format cyclonedx1.5 \
	  --output-file dist/truestock.cdx.json
	@echo "dist/truestock.cdx.json is written."

licenses: setup ## List the license of every package; fails for one that tools/licenses.py does not permit
	@$(BIN)/python -m tools.licenses

client: setup ## Build truestock-client, the Python package for programs that call the API, into dist/
	cd client && "$(abspath $(BIN))/python" -m hatchling build -t sdist -t wheel -d "$(CURDIR)/dist"

mutate: setup ## Change the code in one place at a time and list the changes that no test notices; takes hours
	$(BIN)/python -m tools.mutate decisions
	$(BIN)/python -m tools.mutate service

clean: ## Remove environments and caches; data stay
	rm -rf .venv* .uv .mutation .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
