# make repro: the whole pipeline.  make test: its tests.  Either sets up .venv first.
# Named, because the make of macOS looks for commands on the exported PATH only in a shell.
SHELL := /bin/bash
PYTHON ?= python3
BASE ?= main
N ?= 5
# The name of a branch or file may hold `command`, $(shell command) or $x. This takes it as
# it is spelt and hands it on by the environment, where neither make nor a shell expands it.
override BASE := $(value BASE)
override FILES := $(value FILES)
override HTML := $(value HTML)
override N := $(value N)
override NAME := $(value NAME)
override S := $(value S)
export BASE FILES HTML N NAME S
MAKEOVERRIDES := # nor is it a variable of a make that a recipe runs
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# What makes pip or uv install elsewhere or otherwise. Where they fetch from stays yours.
export PIP_USER := 0
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_DRY_RUN PIP_REQUIRE_VIRTUALENV
unexport PIP_CONSTRAINT PIP_REQUIRE_HASHES PIP_NO_BINARY PIP_NO_BUILD_ISOLATION PIP_NO_DEPS
unexport UV_TARGET UV_PREFIX UV_SYSTEM_PYTHON UV_PYTHON UV_PROJECT UV_WORKING_DIRECTORY
unexport UV_CONSTRAINT UV_OVERRIDE UV_REQUIRE_HASHES UV_NO_BINARY UV_NO_BUILD_ISOLATION
unexport UV_EXCLUDE_NEWER UV_RESOLUTION UV_PRERELEASE PYTHONHOME PYTHONPATH

.PHONY: repro test long tiny soak predict bench cuda lint review seeds same mine clean
.PHONY: requirements scale

repro: .venv/installed
	tools/repro

PYTEST := python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: .venv/installed
	$(PYTEST) -m "not long and not slow"

# What takes some 8 seconds a test or more: CI runs it, too.
long: .venv/installed
	$(PYTEST) -m "long and not slow"

# All stages in seconds, in a folder of their own, by the parameters in .ci/tiny: for CI.
tiny: .venv/installed
	dvc exp run --temp $$(cat .ci/tiny)

# Classify pictures of your own: make predict FILES="mine.jpg 'another one.png'"
# (xargs parts the names at blanks that are not in quotes)
predict: .venv/installed
	@test -n "$$FILES" || { echo 'which pictures? make predict FILES="mine.jpg other.png"' >&2; exit 1; }
	@printf '%s' "$$FILES" | xargs python -m mnist_lstm.predict

# What takes longer, each week: 80 kills, 100,000 damaged files, copies of one's own.
soak: .venv/installed
	python -m pytest -m slow --capture=no

# Speed beside the notebook's way; make bench QUICK=1 takes 2 minutes and writes nothing.
bench: .venv/installed
	python benchmarks/speed.py $(if $(QUICK),--quick)

# Whether a CUDA GPU does what is promised of it, and how fast: 8 minutes, a file.
cuda: .venv/installed
	python tools/cuda_check.py

lint: .venv/installed
	ruff check .
	ruff format --check .
	mypy
	shellcheck tools/repro .ci/run runs/*.sh
	zizmor --offline --quiet .github

# Whether an edit changes no output; if so, dvc.lock takes it without a run. 2 minutes.
same: .venv/installed
	python tools/same.py

# A project of your own from this one, once: make mine NAME=washer
mine: .venv/installed
	@test -f tools/mine.py || { echo "error: this project has a name of its own already" >&2; exit 1; }
	@python tools/mine.py "$$NAME"

# What the workspace changes against BASE; HTML=review.html writes a page with all figures.
review: .venv/installed
	@python tools/review.py "$$BASE" "$$HTML"

# Whether the change matters more than chance: BASE and the workspace, N seeds each;
# S="fast model.name=gru,model.hdim=296": BASE and these two, a blank between them.
seeds: .venv/installed
	@set -f; python tools/seeds.py "$$BASE" --seeds "$$N" $${S:+-S $$S}

# What nothing needs: checkpoints, among them the last finished run's, and pages of plots.
clean:
	rm -rf checkpoints dvc_plots

# Every version, for Python 3.11 to 3.13 on every system, from pyproject.toml.
requirements:
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/python -m pip install --quiet uv
	.venv-uv/bin/uv pip compile --quiet --universal --upgrade --extra dev \
	    --python-version 3.11 --custom-compile-command "make requirements" \
	    --output-file requirements.txt pyproject.toml
	.venv-uv/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb")) \
	    ["project"]["optional-dependencies"]["scale"], sep="\n")' | \
	    .venv-uv/bin/uv pip compile --quiet --universal --upgrade --constraint requirements.txt \
	    --python-version 3.11 --custom-compile-command "make requirements" \
	    --output-file requirements-scale.txt -
	rm -rf .venv-uv

# Ray Tune and Optuna, 420 MB, for tools/sweep.py; nothing else needs them.
scale: .venv/scale

# Both hold the checksum of what was installed: time stamps follow a clock that may be off.
ifneq ($(shell cksum <requirements.txt),$(shell cat .venv/installed 2>/dev/null))
.PHONY: .venv/installed .venv/scale
endif
ifneq ($(shell cksum <requirements-scale.txt),$(shell cat .venv/scale 2>/dev/null))
.PHONY: .venv/scale
endif

.venv/scale: | .venv/installed
	if command -v uv >/dev/null; then \
	    uv pip install --quiet --python .venv --requirement requirements-scale.txt; \
	else \
	    python -m pip install --quiet --disable-pip-version-check --requirement requirements-scale.txt; \
	fi
	cksum <requirements-scale.txt >$@

.venv/installed:
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else \
	    "Python 3.11, 3.12 or 3.13 is needed, $(PYTHON) is %d.%d: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	@test ! -L .venv || { echo ".venv is a link: setting it up would empty what it points to; remove the link" >&2; exit 1; }
	@echo "Setting up .venv: about 3 GB to fetch, once. This takes a few minutes."
	if command -v uv >/dev/null; then \
	    uv venv --quiet --clear --seed --python "$$($(PYTHON) -c 'import sys; print(sys._base_executable)')" .venv && \
	    uv pip install --quiet --python .venv --requirement requirements.txt && \
	    uv pip install --quiet --python .venv --no-deps --editable .; \
	else \
	    $(PYTHON) -m venv --clear .venv && \
	    python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt && \
	    python -m pip install --quiet --disable-pip-version-check --no-deps --editable .; \
	fi
	cksum <requirements.txt >$@
