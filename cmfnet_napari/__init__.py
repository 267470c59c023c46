"""Scribbles on CT and MR to a reviewed 3D tumour contour.

``import cmfnet_napari as cmfnet`` offers the functions of `cmfnet_napari.api`, which is imported
when the first of them is asked for. Nothing is imported here before that, not even from Python's
own library: this file runs before the current folder is left out (`core.isolation`).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmfnet_napari.api import (
        UserError,
        evaluate,
        export_rtstruct,
        fit,
        load_labels,
        load_scribbles,
        make_config,
        open_study,
        predict,
        sample_patient,
        save_labels,
        scribble,
    )

__all__ = [
    "UserError",
    "evaluate",
    "export_rtstruct",
    "fit",
    "load_labels",
    "load_scribbles",
    "make_config",
    "open_study",
    "predict",
    "sample_patient",
    "save_labels",
    "scribble",
]


def __getattr__(name: str) -> object:
    """A function of the public face, imported now (PEP 562)."""
    if name in __all__:
        import cmfnet_napari.api as api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public face, and what every module has."""
    return sorted({*globals(), *__all__})
