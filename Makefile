# Each target first installs what it needs into .venv, again only after pyproject.toml or constraints.txt changed.

PYTHON ?= python3
ARGS ?=
VENV := .venv
MAGPY := .venv-magpy
BIN := $(CURDIR)/$(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The tools of .venv before others of the same name, and its kernel before one in the user's home.
IN_VENV := PATH="$(BIN):$$PATH" JUPYTER_PREFER_ENV_PATH=1

.PHONY: help lab test test-full bench constraints
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:
	@echo "make lab          JupyterLab with the demo observatory; ARGS=\"--no-browser --port 8899\" are passed on"
	@echo "make test         lint, types, import contracts, tests and notebooks: what every commit must pass"
	@echo "make test-full    the long tests: chaos, soak, a million rows, comparison with MagPy"
	@echo "make bench        the benchmarks, JSON out; ARGS are passed on"
	@echo "make constraints  pin the newest versions that fit together into constraints.txt"
	@echo "PYTHON=python3.12 chooses the Python (3.11 or newer) that .venv is made with"

lab: $(VENV)/.installed-demo
	$(IN_VENV) obslab lab $(ARGS)

test: $(VENV)/.installed-dev
	$(IN_VENV) ruff check .
	$(IN_VENV) ruff format --check .
	$(IN_VENV) mypy
	$(IN_VENV) lint-imports
	@# The notebooks' demo observatory must not meet the one of a JupyterLab that is open.
	state=$$(mktemp -d); trap 'rm -rf "$$state"' EXIT; \
	OBSLAB_STATE_DIR="$$state" $(IN_VENV) pytest tests notebooks -m "not long" -n 2 --dist loadfile \
		--nbval --nbval-sanitize-with tests/nbval_sanitize.cfg $(ARGS)

test-full: $(VENV)/.installed-dev $(MAGPY)/.installed
	state=$$(mktemp -d); trap 'rm -rf "$$state"' EXIT; \
	OBSLAB_STATE_DIR="$$state" $(IN_VENV) pytest tests -m long $(ARGS)

bench: $(VENV)/.installed-dev $(MAGPY)/.installed
	@set -e; for script in $(sort $(wildcard benchmarks/*.py)); do $(IN_VENV) python $$script $(ARGS); done

# In an environment of its own, so that nothing installed by hand is pinned.
constraints: $(VENV)/.made
	@set -e; clean=$$(mktemp -d); trap 'rm -rf "$$clean"' EXIT; \
	$(BIN)/python -m venv "$$clean"; \
	"$$clean/bin/python" -m pip install -q --disable-pip-version-check '.[dev]'; \
	{ echo "# The versions that obslab is tested with. Made by \`make constraints\`, not by hand:"; \
	  echo "# what pip freezes after installing .[dev] into an empty environment."; \
	  "$$clean/bin/python" -m pip freeze --exclude obslab; } > "$$clean/constraints.txt"; \
	mv "$$clean/constraints.txt" constraints.txt
	@echo "constraints.txt: $$(grep -c == constraints.txt) versions"

$(VENV)/.installed-demo: pyproject.toml constraints.txt | $(VENV)/.made
	@echo "installing obslab into $(VENV): a minute or two"
	@$(PIP) install -q -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/.made
	@echo "installing obslab and its tools into $(VENV): a minute or two"
	@$(PIP) install -q -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.installed-demo

# MagPy is what results are compared with. It is heavy and not ours to depend on: an environment of its own.
$(MAGPY)/.installed: tests/magpy/requirements.txt | $(VENV)/.made
	@echo "installing MagPy into $(MAGPY), to compare with: a minute"
	@$(PYTHON) -m venv $(MAGPY)
	@$(MAGPY)/bin/python -m pip --disable-pip-version-check install -q -r tests/magpy/requirements.txt
	@touch $@

$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || \
		{ echo "obslab needs Python 3.11 or newer, and there is no $(PYTHON); name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("obslab needs Python 3.11 or newer, and $(PYTHON) is %d.%d.%d; name another: make PYTHON=python3.12" % v[:3])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make environments: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@
