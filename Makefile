# Two commands on a fresh machine with Python 3.11 or newer, git and make:
#   make demo   the main job, from scribbles to a contour (in a window when there is a display)
#   make test   the whole test suite, style and import rules
# PYTHON=python3.12 chooses another Python; PIP_ARGS=... is handed to pip (README, "CPU or GPU").

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; break; fi; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --progress-bar off \
	--constraint constraints.txt $(PIP_ARGS)
READY := .venv/.ready

.PHONY: help demo test test-tools system

help:
	@echo "make demo   the main job on a made-up patient: scribbles, training, contour"
	@echo "make test   the whole test suite, style and import rules"

demo: $(READY)
	@$(BIN)/cmfnet demo --out demo-output

# Two tests at once, of different files, each with one thread for torch.
test: $(READY) test-tools
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/lint-imports --no-cache --no-logo
	@PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# A PACS and a checker of DICOM's rules, which only tests need.
test-tools: $(READY)
	@sh scripts/test-tools.sh .venv

system:
	@sh scripts/system-libraries.sh $(PYTHON)

# The build backend comes first, pinned like the rest, so that nothing is fetched unpinned.
$(READY): pyproject.toml constraints.txt | system
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11 or newer is needed; none was found." >&2; exit 1; fi
	@if [ ! -x $(BIN)/pip ]; then echo "Making .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv .venv; fi
	@echo "Installing the pinned packages into .venv (several minutes the first time)"
	@$(PIP) hatchling editables
	@$(PIP) --no-build-isolation --editable '.[all,test,dev]'
	@touch $@

# The lowest version that pyproject.toml allows of every direct dependency, and the tests of all
# but the window with them; run by hand (docs/installing.md). One test is left out: of the pins.
LOWEST_PYTHON ?= python3.11
LOWEST := .venv-lowest/bin

.PHONY: lowest
lowest: | system
	@echo "Installing the lowest versions into .venv-lowest (several GB: torch comes with CUDA)"
	@$(LOWEST_PYTHON) -m venv --clear .venv-lowest
	@$(LOWEST)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt uv
	@$(LOWEST)/uv pip install --quiet --python $(LOWEST)/python --resolution lowest-direct \
		--only-binary :all: --no-binary dcmrtstruct2nii --editable '.[all,test,dev]'
	@$(LOWEST)/python scripts/lowest_versions.py
	@$(LOWEST)/ruff check --quiet .
	@$(LOWEST)/ruff format --check --quiet .
	@$(LOWEST)/lint-imports --no-cache --no-logo
	@QT_QPA_PLATFORM=offscreen $(LOWEST)/python -c "import cmfnet_napari.gui.app, cmfnet_napari.gui.dock"
	@PATH="$(CURDIR)/$(LOWEST):$$PATH" OMP_NUM_THREADS=1 QT_QPA_PLATFORM=offscreen \
		$(LOWEST)/python -m pytest -m "not slow" --ignore tests/window --ignore tests/faults \
		--deselect tests/packaging/test_metadata.py::test_everything_the_set_up_installs_is_pinned
