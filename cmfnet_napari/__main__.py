"""``python -m cmfnet_napari`` is the ``cmfnet`` command."""

from cmfnet_napari.cli import main

if __name__ == "__main__":
    main()
