# Two commands on a fresh machine with Python 3.11 or newer, git and make:
#   make demo   the main job, from scribbles to a contour (in a window when there is a display)
#   make test   the whole test suite, style, types and import rules
# and make docs: the documentation as a site, in site/ (tests build it too);
#     make sbom: what the product is made of, as CycloneDX, in sbom.json.
# PYTHON=python3.12 chooses another Python; PIP_ARGS=... is handed to pip (docs/how-to/install.md, "CPU or GPU").

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; break; fi; done)
BIN := .venv/bin
INSTALL := sh scripts/install.sh $(BIN)/python $(PIP_ARGS) --only-binary :all:
PRODUCT := .venv/.product
TESTS := .venv/.tests
DOCS := .venv/.docs
SBOM_TOOL := .venv-sbom/bin/cyclonedx-py

.PHONY: help demo test docs sbom product system test-system test-tools lowest

help:
	@echo "make demo   the main job on a made-up patient: scribbles, training, contour"
	@echo "make test   the whole test suite, style, types and import rules"
	@echo "make docs   the documentation as a site, in site/"
	@echo "make sbom   what it is made of (CycloneDX), in sbom.json"

demo: $(PRODUCT)
	@$(BIN)/cmfnet demo --out demo-output

# Three tests at once, of different files, each with one thread for torch; on two cores, since tests
# wait for workers and windows. They step back as far as the worker does (learning/priority.py):
# else the workers of tests get no processor. Files with slow tests come first (tests/conftest.py).
test: $(TESTS) test-tools
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache --no-logo
	@PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 nice -n 10 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# A link, an anchor or a name that does not exist is an error (mkdocs.yml).
docs: $(DOCS)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "Open site/index.html"

# From the lock, by a tool that lies in an environment of its own: it is no part of what it lists.
sbom: $(SBOM_TOOL)
	@PYTHONWARNINGS=ignore $(SBOM_TOOL) requirements --pyproject pyproject.toml --output-reproducible -o sbom.json constraints.txt
	@echo "Written: sbom.json"

$(SBOM_TOOL): scripts/sbom-tools.txt constraints.txt
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11 or newer is needed; none was found." >&2; exit 1; fi
	@$(PYTHON) -m venv .venv-sbom
	@sh scripts/install.sh .venv-sbom/bin/python $(PIP_ARGS) --only-binary :all: -r scripts/sbom-tools.txt
	@touch $@

product: $(PRODUCT)

# What the demo needs and nothing else, from wheels alone. The backend that builds this package
# comes first, pinned like the rest, so that nothing is fetched unpinned.
$(PRODUCT): pyproject.toml constraints.txt | system
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11 or newer is needed; none was found." >&2; exit 1; fi
	@if [ ! -x $(BIN)/pip ]; then echo "Making .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv .venv; fi
	@echo "Installing the pinned packages into .venv (several minutes the first time)"
	@$(INSTALL) hatchling editables
	@$(INSTALL) --no-build-isolation --editable '.[all]'
	@touch $@

# dcmrtstruct2nii has no wheel: it is built here, with the pinned setuptools.
$(TESTS): $(PRODUCT) | test-system
	@echo "Installing what the tests need besides"
	@$(INSTALL) setuptools
	@$(INSTALL) --no-binary dcmrtstruct2nii --no-build-isolation --editable '.[all,test,dev,docs]'
	@touch $@ $(DOCS)

$(DOCS): $(PRODUCT)
	@echo "Installing what builds the documentation"
	@$(INSTALL) --no-build-isolation --editable '.[all,docs]'
	@touch $@

# A PACS and a checker of DICOM's rules, which only tests need.
test-tools: $(TESTS)
	@sh scripts/test-tools.sh .venv

system:
	@sh scripts/system-libraries.sh $(PYTHON)

test-system:
	@sh scripts/system-libraries.sh $(PYTHON) xvfb xauth

# Run by hand (docs/installing.md).
lowest: | test-system
	@sh scripts/lowest.sh
