# On a bare machine this needs Python >= 3.11 with pip, and make. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
LATEST := .venv-latest
RENEWED := .venv-constraints
BIN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
OLDEST_STAMP := $(OLDEST)/.installed
LATEST_STAMP := $(LATEST)/.installed
EXTRAS := robustbench lora dev
comma := ,
empty :=
PACKAGE := .[$(subst $(empty) ,$(comma),$(EXTRAS))]
# `make PINS= ...` installs the newest packages in range instead.
PINS ?= constraints.txt
# One process per core up to four, each with one thread: torch's own threads gain little on small networks.
PYTEST := OMP_NUM_THREADS=1 $(BIN) -m pytest -n logical --maxprocesses 4
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: architectures help install reproduce evidence notebooks browser test test-all test-oldest test-latest constraints benchmarks check format format-check lint types clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  \1 | /p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-16s%s\n", $$1, $$2}'

install: $(STAMP)  ## make .venv and install the package with everything it needs

$(STAMP): pyproject.toml $(PINS)
	$(call make_venv,$(VENV))
	$(BIN) -m pip install $(if $(PINS),--constraint $(PINS)) --editable "$(PACKAGE)" || \
	  { echo "pip could not install this here$(if $(PINS),; 'make PINS= ...' takes the newest packages instead of those of $(PINS))"; exit 1; }
	@touch $@

# An old pip downloads every release that it rejects.
$(OLDEST_STAMP): pyproject.toml .ci/lowest.py
	$(call make_venv,$(OLDEST))
	$(OLDEST)/bin/python -m pip install --upgrade pip packaging
	$(OLDEST)/bin/python -m pip install --no-deps --editable .
	$(OLDEST)/bin/python .ci/lowest.py $(EXTRAS) > $(OLDEST)/lowest.txt
	$(OLDEST)/bin/python -m pip install --constraint $(OLDEST)/lowest.txt --editable "$(PACKAGE)"
	@touch $@

$(LATEST_STAMP): pyproject.toml
	$(call make_venv,$(LATEST))
	$(LATEST)/bin/python -m pip install --upgrade --upgrade-strategy eager --editable ".[lora,dev]"
	@touch $@

define make_venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, but $(PYTHON) is older or missing: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
endef

reproduce: $(STAMP)  ## execute every notebook on the embedded data; figures, tables and a report to read
	$(BIN) -m surgicalft reproduce --profile embedded

evidence: $(STAMP)  ## the same on real images, from the folder SURGICALFT_DATA; hours on a CPU
	$(BIN) -m surgicalft.report.evidence
	$(BIN) -m surgicalft reproduce --profile cifar

notebooks: $(STAMP)  ## execute the paired notebooks that people read, in place
	$(BIN) -m surgicalft pair

test: $(STAMP)  ## the fast tests
	SURGICALFT_PINS=$(PINS) $(PYTEST)

test-all: $(STAMP)  ## the fast and the slow tests
	SURGICALFT_PINS=$(PINS) $(PYTEST) -m "not benchmark and not browser and not architectures"

# Old releases warn of what their own dependencies have deprecated since: no errors here.
test-oldest: $(OLDEST_STAMP)  ## the fast tests with the lowest version of every dependency in pyproject.toml
	$(subst $(BIN),$(OLDEST)/bin/python,$(PYTEST)) -W default

test-latest: $(LATEST_STAMP)  ## the fast tests with the newest version of everything, without robustbench
	$(subst $(BIN),$(LATEST)/bin/python,$(PYTEST))

constraints:  ## renew constraints.txt: the newest packages in range, pinned
	rm -rf $(RENEWED)
	$(call make_venv,$(RENEWED))
	$(RENEWED)/bin/python -m pip install --quiet --upgrade pip packaging uv
	$(RENEWED)/bin/python -m pip install --quiet --dry-run --ignore-installed --report $(RENEWED)/report.json --editable "$(PACKAGE)"
	$(RENEWED)/bin/python .ci/constraints.py $(RENEWED)/report.json $(EXTRAS) > $(RENEWED)/constraints.txt
	mv $(RENEWED)/constraints.txt constraints.txt
	rm -rf $(RENEWED)

architectures: $(STAMP)  ## tune a network of every module of timm both ways, from memory and plainly
	OMP_NUM_THREADS=2 $(BIN) -m pytest tests/reuse -m architectures -n 0 -s -q

browser: $(STAMP)  ## open every page of the report in Chromium, which the system must have
	$(BIN) -m pip install --quiet "playwright>=1.40"
	$(BIN) -m pytest tests/site -m browser

benchmarks: $(STAMP)  ## ratios of running times
	$(BIN) -m pytest tests/benchmarks -m benchmark

check: format-check lint types test  ## what the continuous integration runs

format: $(STAMP)  ## rewrite the code in the project's format
	$(BIN) -m ruff check --fix-only .
	$(BIN) -m ruff format .

format-check: $(STAMP)
	$(BIN) -m ruff format --check .

lint: $(STAMP)
	$(BIN) -m ruff check .

types: $(STAMP)
	$(BIN) -m mypy

clean:  ## remove what can be made again, but not .venv, figures and caches in your home
	rm -rf build dist *.egg-info results/notebooks .pytest_cache .mypy_cache .ruff_cache .benchmarks .hypothesis
	find surgicalft theory tests notebooks -name __pycache__ -prune -exec rm -rf {} +
