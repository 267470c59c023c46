"""What the user is asked: for files and folders, and whether something is meant.

Every question for a file begins where its kind was answered last.
"""

from __future__ import annotations

import re
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from cmfnet_napari.core.images.volume import IMAGE_ENDINGS, WRITE_ENDINGS
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.preferences import preferences


def ask_open(parent: QWidget, title: str, kinds: str = "", what: str = "images") -> str:
    """Ask for a file to read; empty when the user thinks better of it.

    Parameters
    ----------
    parent : QWidget
        Whose dialog it is.
    title : str
        Of the dialog.
    kinds : str
        Endings, as Qt writes them.
    what : str
        Files of one kind are remembered together.
    """
    path = QFileDialog.getOpenFileName(parent, title, _last(what), kinds)[0]
    return _remember(what, path, Path(path).parent)


def ask_save(parent: QWidget, title: str, name: str, kinds: str, what: str = "results") -> str:
    """Ask where to write a file, with a name proposed; as `ask_open`.

    What is typed without an ending gets one: that of the kind that was chosen. The system's dialog
    has asked about the name as it was typed; if another one is there now, that is asked about here.
    """
    folder = _last(what)
    proposed = str(Path(folder) / name) if folder else name
    path, chosen = QFileDialog.getSaveFileName(parent, title, proposed, kinds)
    whole = _with_ending(path, name, chosen or kinds, kinds)
    if whole != path and Path(whole).exists():
        question = f"{Path(whole).name} is there already. Replace it?"
        whole = whole if ask_sure(parent, title, question) else ""
    return _remember(what, whole, Path(whole).parent)


def ask_folder(parent: QWidget, title: str, what: str = "dicom") -> str:
    """Ask for a folder; the next question begins beside it; as `ask_open`."""
    path = QFileDialog.getExistingDirectory(parent, title, _last(what))
    return _remember(what, path, Path(path).parent)


def ask_file(parent: QWidget, title: str) -> str:
    """Ask for an image file to read; as `ask_open`."""
    kinds = " ".join(f"*{ending}" for ending in IMAGE_ENDINGS)
    return ask_open(parent, title, f"Images ({kinds});;All files (*)")


def ask_model(parent: QWidget, title: str) -> str:
    """Ask for a model file to read; as `ask_open`."""
    return ask_open(parent, title, "Models (*.safetensors)", "models")


def ask_target(parent: QWidget, title: str, name: str) -> str:
    """Ask where to write an image; as `ask_save`."""
    kinds = " ".join(f"*{ending}" for ending in WRITE_ENDINGS)
    return ask_save(parent, title, name, f"Images ({kinds})")


def ask_sure(parent: QWidget | None, title: str, question: str) -> bool:
    """Ask whether something that cannot be undone is meant; *No* is where the keyboard is.

    The question may hold words of files.
    """
    answers = QMessageBox.StandardButton
    answer = QMessageBox.question(
        parent, title, plain(question), answers.Yes | answers.No, defaultButton=answers.No
    )
    return bool(answer == answers.Yes)


def _with_ending(path: str, name: str, chosen: str, kinds: str) -> str:
    """A path that ends as one of its kinds does; the proposed name's ending if that may be."""
    if not path or path.casefold().endswith(tuple(_endings(kinds))):
        return path
    endings = _endings(chosen)
    own = [ending for ending in endings if name.endswith(ending)]
    return path + max(own or endings[:1], key=len)


def _endings(kinds: str) -> list[str]:
    """Endings in kinds of files as Qt writes them, such as ``PDF (*.pdf)``."""
    return re.findall(r"\*(\.[\w.]+)", kinds)


def _last(what: str) -> str:
    """The folder of the last answer, if it is still there."""
    folder = preferences().folders.get(what, "")
    return folder if folder and Path(folder).is_dir() else ""


def _remember(what: str, path: str, folder: Path) -> str:
    if path:
        kept = preferences()
        kept.folders[what] = str(folder)
        kept.write()
    return path
