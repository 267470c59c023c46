"""The ``cmfnet`` command, also as ``python -m cmfnet_napari``.

The latter finds this package, and the few modules that Python's own ``-m`` needs, before the
first line here; ``python -P -m cmfnet_napari`` keeps the current folder out of that too.
"""

from cmfnet_napari.core.isolation import leave_current_folder


def main() -> None:
    """Run the command line, with no code of the current folder."""
    leave_current_folder()
    from cmfnet_napari.cli.main import main as run  # not earlier: it imports others

    run()


if __name__ == "__main__":
    main()
