# Everything is made inside .venv and build/. A second run installs and builds nothing unless the sources changed.
#   make demo | test | mutation | calibration | derivations | bench | docs | lint | selftest | wheel | clean       ARGS="-k adam" is handed on to the tool
#   FALLLINE_DEBUG=1 make test    builds with Cython's checks on; FALLLINE_ISA=avx2 make test forces an instruction set
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q
MODE   := $(if $(filter-out 0,$(FALLLINE_DEBUG)),debug,release)
BUILT  := $(VENV)/.built-$(MODE)
CSRC   := $(filter-out csrc/selftest.c,$(wildcard csrc/*.c))
CORE   := $(CSRC) $(wildcard csrc/*.h src/fallline/_core/*) setup.py
MATH   := -fno-fast-math -fno-unsafe-math-optimizations -fno-math-errno -fno-trapping-math -ffp-contract=off
# clang speaks of flags that cancel each other, which is what they are there for, and of loops that -O1 leaves alone.
CLANG  := $(if $(findstring clang,$(shell $(CC) --version 2>/dev/null)),-Wno-unknown-warning-option -Wno-overriding-t-option -Wno-overriding-option -Wno-pass-failed)
WARN   := -std=c11 -Wall -Wextra -Werror $(CLANG)

.PHONY: demo test mutation calibration derivations bench docs lint selftest wheel venv clean
demo: $(BUILT)
	$(BIN)/fallline demo $(ARGS)

test: $(BUILT)
	$(BIN)/python -m pytest $(ARGS)

# Every planted bug with several seeds, and ten thousand gradients that are right: some minutes. A sample is in `make test`.
mutation: $(BUILT)
	$(BIN)/python tests/test_mutation.py --full $(ARGS)

# Every threshold is moved, and what goes wrong on either side is counted: ten minutes.
calibration: $(BUILT)
	$(BIN)/python tests/calibrate.py $(ARGS)

# Thousands of expressions that hypothesis makes, against SymPy. A sample is in `make test`.
derivations: $(BUILT)
	FALLLINE_EXAMPLES=2000 $(BIN)/python -m pytest tests/test_calculus_rules.py $(ARGS)

bench: $(BUILT) $(VENV)/.bench
	$(BIN)/python -m pytest bench -q --benchmark-quiet --benchmark-autosave $(ARGS)

lint: $(BUILT) $(VENV)/.lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/stubtest --ignore-disjoint-bases --ignore-unused-allowlist --allowlist tests/stubtest.txt fallline._core
	$(CC) -fsyntax-only $(WARN) -Icsrc $(wildcard csrc/*.c bench/*.c)

selftest:
	mkdir -p build
	$(CC) $(WARN) -O1 -g $(MATH) -fsanitize=address,undefined -fno-sanitize-recover=all -pthread -Icsrc \
	    csrc/selftest.c $(CSRC) -lm -o build/selftest
	build/selftest $(ARGS)

# The pages are in build/docs/index.html.
docs: $(BUILT) $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

wheel: $(BUILT)
	$(BIN)/python -m build --no-isolation

venv: $(BUILT)

clean:
	rm -rf $(VENV) build dist fallline-demo src/fallline.egg-info src/fallline/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find src tests bench examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# pip follows --group from 25.1 on, so it is brought up to date first.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "fallline needs Python >= 3.11; got $$($(PYTHON) --version 2>&1). Name another one: make PYTHON=/path/to/python3 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "$(PYTHON) has no venv module. Install it (on Debian: apt install python3-venv)."; exit 1; }
	@$(PYTHON) -c 'import os, sysconfig as s; os.stat(s.get_path("include") + "/Python.h")' 2>/dev/null || \
	    { echo "$(PYTHON) has no Python.h, which compiling needs. Install it (on Debian: apt install python3-dev)."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade 'pip>=25.1'
	$(PIP) install --group test
	touch $@

$(VENV)/.bench $(VENV)/.docs $(VENV)/.lint: $(VENV)/.installed
	$(PIP) install --group $(subst .,,$(@F))
	touch $@

# The release and the debug build share one file name in src/, so each removes the other's stamp.
$(BUILT): $(VENV)/.installed $(CORE)
	rm -f $(VENV)/.built-*
	$(PIP) install --no-build-isolation --no-deps -e .
	touch $@
