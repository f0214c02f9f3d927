# Two commands matter: `make report` shows what the package does, `make test` runs everything that holds it to its word.
# Steps that were done leave a stamp in .venv and are not done again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Matrices in the tests are small: threads of BLAS would only wait for each other.
export OPENBLAS_NUM_THREADS := 1
# Python keeps what it compiled: else every process that a test starts compiles all that it imports, six seconds each time.
unexport PYTHONDONTWRITEBYTECODE
DEBIAN := chromium fonts-liberation postgresql default-jre-headless prometheus

.PHONY: help report test pytest test-fast test-long test-lowest test-newest check docs docs-site bench clean
.DELETE_ON_ERROR:

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14

report: $(VENV)/.installed ## install, run the five stages on sample_data, print the path of the page
	@$(BIN)/llm-monitoring report sample_data --force

test: $(VENV)/.dev $(VENV)/.debian ## install what the tests need, then every check and every test but the long ones
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory pytest

pytest: $(VENV)/.dev $(VENV)/.debian ## the tests of make test, without the checks
	$(BIN)/python -m pytest -n auto

test-fast: $(VENV)/.dev ## the quick tests, three quarters of all, in under two minutes on two cores
	$(BIN)/python -m pytest -q -n auto -m "not (long or slow or browser or engines or notebooks)"

test-long: $(VENV)/.dev $(VENV)/.debian ## the long tests, which make test leaves out
	$(BIN)/python -m pytest -n auto -m long

test-lowest: $(VENV)/.dev ## tests without browser, other engines and executed notebooks on Python 3.11 and the lowest versions
	@.ci/versions lowest

test-newest: $(VENV)/.dev ## the quick tests on Python 3.13 and the newest versions
	@.ci/versions newest

check: $(VENV)/.dev ## lint, format, types, layers, spelling, notebooks without outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell
	$(BIN)/nbstripout --keep-id --verify notebooks/*.ipynb

docs: $(VENV)/.dev ## write the generated pages again: command line, public names, module map
	$(BIN)/python docs/cli_page.py
	$(BIN)/python docs/api_page.py
	$(BIN)/python docs/module_map.py

docs-site: $(VENV)/.dev ## build the documentation site into site/, with a gallery of reports; nothing is fetched
	$(BIN)/python docs/build_site.py

bench: $(VENV)/.dev ## run the benchmarks, one after the other
	@for script in benchmarks/*.py benchmarks/*/run.py; do [ -f "$$script" ] || continue; \
	  echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

clean: ## remove the environment, caches and reports
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-newest reports build site dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else \
	  f"Python 3.11 to 3.13 is needed, $(PYTHON) is {v[0]}.{v[1]}. Name another: make PYTHON=python3.12 report")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); [ "$$(id -u)" = 0 ] && apt-get update -qq \
	  && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); }

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@.ci/install $(BIN)/python --editable .
	@touch $@

# With the package itself in the same step: one resolution, one download.
$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@.ci/install $(BIN)/python --editable . --group dev
	@touch $(VENV)/.installed $@

# Debian packages that the tests use: a browser with its fonts, PostgreSQL and Java for the engines, Prometheus. Elsewhere, or
# without the right to install, tests that miss one say so and are skipped.
$(VENV)/.debian: | $(BIN)/python
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  missing=; \
	  command -v chromium >/dev/null || missing="$$missing chromium"; \
	  dpkg -s fonts-liberation >/dev/null 2>&1 || missing="$$missing fonts-liberation"; \
	  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
	  command -v java >/dev/null || missing="$$missing default-jre-headless"; \
	  command -v promtool >/dev/null || missing="$$missing prometheus"; \
	  if [ -n "$$missing" ]; then \
	    export DEBIAN_FRONTEND=noninteractive; \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; fi; \
	else echo "Not root on Debian: tests that need one of $(DEBIAN) are skipped where it is absent."; fi
	@touch $@
