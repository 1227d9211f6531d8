# Every target installs what it needs first. `make help` lists them.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TOO_OLD := "Postroom needs Python 3.11 or newer; with another one: make run PYTHON=python3.13"
CODE := src tests bench deploy docs stack

.DEFAULT_GOAL := help
.PHONY: help run test chaos check fix bench bench-report docs pictures lock clean
.PHONY: start stop restart scale logs status destroy test-stack

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

$(VENV)/.run: requirements/run.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and $(TOO_OLD))'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	@echo "Installing Postroom into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@echo "Installing what the checks and tests need into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.bench: requirements/bench.txt $(VENV)/.dev
	@echo "Installing what the bench needs into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

run: $(VENV)/.run ## Run Postroom on 127.0.0.1:8022 (SQLite, no other service needed)
	@exec $(BIN)/postroom run

test: $(VENV)/.dev ## Run all checks and tests
	@$(MAKE) --no-print-directory check
	@tests/prepare
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder || \
	  { echo "Once more, with the machine to itself: what failed"; \
	    $(BIN)/python -m pytest -q --last-failed --last-failed-no-failures none; }

chaos: $(VENV)/.dev ## Kill, freeze and empty every part under load, then count (SCENARIO= SEED= SECONDS= STORE= NODES=)
	@tests/prepare
	@$(BIN)/python -m tests.chaos $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(SECONDS),--seconds $(SECONDS)) $(if $(STORE),--store $(STORE)) $(if $(NODES),--nodes $(NODES))

check: $(VENV)/.dev ## Check formatting, lint, types, import contracts and manifests; changes nothing
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/mypy --follow-imports=silent tests/stack stack/guard  # nothing else notices there what changes elsewhere
	@$(BIN)/lint-imports
	@$(BIN)/python deploy/kubernetes/check.py

fix: $(VENV)/.dev ## Format, and mend what lint can mend by itself
	@$(BIN)/ruff check --quiet --fix --exit-zero $(CODE)
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check $(CODE)

bench: $(VENV)/.bench ## Measure it beside the naive design, taskiq and Postfix; see bench/README.md
	@tests/prepare
	@$(BIN)/python -m bench

bench-report: $(VENV)/.bench ## Write docs/performance.md and its plot from what was measured last
	@$(BIN)/python -m bench.report

docs: $(VENV)/.run ## Write docs/settings.md from the settings
	@sed -i '/^| /d' docs/settings.md && $(BIN)/postroom settings >> docs/settings.md

pictures: ## Draw docs/pictures/*.svg from their sources (needs Graphviz)
	@$(PYTHON) docs/pictures/render.py

lock: $(VENV)/.dev ## Renew the hashed lock files from pyproject.toml
	@requirements/lock $(BIN)

# -- the stack in containers: needs Docker, and no Python here ---------------------------------------------------------

start: ## Build and start everything in containers, and wait until it is healthy
	@stack/stack start

stop: ## Stop the containers; the data is kept
	@stack/stack stop

restart: ## Stop and start the containers, or one kind of them: SERVICE=worker
	@stack/stack restart

scale: ## Attach or detach workers, and touch nothing else: WORKERS=4, or one more
	@stack/stack scale

logs: ## Show the containers' logs: SERVICE=worker, FOLLOW=1
	@stack/stack logs

status: ## Show the containers, their addresses and logins
	@stack/stack status

destroy: ## Remove the containers and all their data, after asking
	@stack/stack destroy

test-stack: $(VENV)/.dev ## Test the stack in containers from outside; needs Docker
	@$(BIN)/python -m pytest -q -p no:randomly -o timeout=900 tests/stack

clean: ## Remove the local environment and caches; the data is kept
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
