#!/bin/sh
# The lowest version that pyproject.toml allows of every direct dependency, in an environment of
# their own, and the tests of all but the window with them. Run by hand: make lowest
# (docs/installing.md). torch comes with CUDA: several GB.
set -eu
cd "$(dirname "$0")/.."

here=.venv-lowest/bin
tests="--ignore tests/gui --ignore tests/faults --ignore tests/distribution/test_site.py"

echo "Installing the lowest versions into .venv-lowest"
"${LOWEST_PYTHON:-python3.11}" -m venv --clear .venv-lowest
sh scripts/install.sh "$here/python" uv
"$here/uv" pip install --quiet --python "$here/python" --resolution lowest-direct \
	--only-binary :all: --no-binary dcmrtstruct2nii --editable '.[all,test,dev]'
"$here/python" scripts/lowest_versions.py dependencies all test dev
export PATH="$PWD/$here:$PATH" OMP_NUM_THREADS=1 QT_QPA_PLATFORM=offscreen
python -c "import cmfnet_napari.gui.app, cmfnet_napari.gui.dock"
# One test is left out: of the pins.
# shellcheck disable=SC2086  # one word an option
python -m pytest -m "not slow" $tests \
	--deselect tests/distribution/test_metadata.py::test_everything_the_set_up_installs_is_pinned

ruff check --quiet .
ruff format --check --quiet .
lint-imports --no-cache --no-logo
