# make repro: the whole pipeline.  make test: its tests.  Either sets up .venv first.
# Named, because the make of macOS looks for commands on the exported PATH only in a shell.
SHELL := /bin/bash
PYTHON ?= python3
BASE ?= main
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: repro test soak bench lint review requirements

repro: .venv/installed
	tools/repro

test: .venv/installed
	python -m pytest -m "not slow" --numprocesses 2 --dist loadfile

# What takes longer: 20 killed runs, 100,000 damaged files, `digits` from nothing.
soak: .venv/installed
	python -m pytest -m slow --capture=no

# Speed beside the notebook's way; make bench QUICK=1 takes 2 minutes and writes nothing.
bench: .venv/installed
	python benchmarks/bench.py $(if $(QUICK),--quick)

lint: .venv/installed
	ruff check .
	ruff format --check .

review: .venv/installed
	@tools/review "$(BASE)"

# Every version, for Python 3.11 to 3.13 on every system, from pyproject.toml.
requirements:
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/python -m pip install --quiet uv
	.venv-uv/bin/uv pip compile --quiet --universal --upgrade --extra dev \
	    --python-version 3.11 --custom-compile-command "make requirements" \
	    --output-file requirements.txt pyproject.toml
	rm -rf .venv-uv

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else \
	    "Python 3.11, 3.12 or 3.13 is needed, $(PYTHON) is %d.%d: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	@echo "Setting up .venv: about 3 GB to fetch, once. This takes a few minutes."
	$(PYTHON) -m venv --clear .venv
	python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
