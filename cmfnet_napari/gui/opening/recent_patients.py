"""Patients of the last days, to go on with: a picture, what there is of them, and when.

Nothing here says who a patient is. Names of files and folders are not kept, since they often hold
a patient's name; the picture is a slice of the first image, and lies in the case folder with it.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
from qtpy.QtCore import QSize
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QGroupBox, QPushButton, QVBoxLayout, QWidget

from cmfnet_napari.core.case.find_case import cases_folder
from cmfnet_napari.core.case.folder import Case, image_kinds
from cmfnet_napari.core.files import keep_private
from cmfnet_napari.core.images.normalise import Limits
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.gui.patient.opened import open_case_again
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.preferences import preferences
from cmfnet_napari.gui.shared.widgets import button, column

PICTURE = "picture.png"  # in the case folder
_SIDE = 48  # pixels
_SHOWN = 5


class RecentPatients(QGroupBox):
    """The newest cases of this computer's user, a button each; not there when there are none."""

    def __init__(self, session: Session) -> None:
        super().__init__("Recent patients")
        self._session = session
        self._list = QVBoxLayout()
        self.forget = button(
            "Forget these",
            self._forget,
            "Empty this list, and forget the folders that files were chosen in. The cases stay.",
        )
        self.setLayout(column(self._list, self.forget))
        session.opened.connect(self._on_opened)
        session.closed.connect(self._fill)
        self._fill()

    @property
    def buttons(self) -> list[QPushButton]:
        """The newest first."""
        widgets = (self._list.itemAt(index).widget() for index in range(self._list.count()))
        return [widget for widget in widgets if isinstance(widget, QPushButton)]

    def _on_opened(self) -> None:
        case = self._session.case
        if case.folder.parent == cases_folder():
            preferences().opened(case.folder.name)
            if not case.read_only:
                keep_picture(case, self._session.patient.limits[0])
        self._fill()

    def _forget(self) -> None:
        preferences().forget()
        self._fill()

    def _fill(self) -> None:
        for old in self.buttons:
            self._list.removeWidget(old)
            old.deleteLater()
        open_now = None if self._session.patient is None else self._session.case.folder
        folders = [folder for folder in _recent() if folder != open_now][:_SHOWN]
        for folder in folders:
            self._list.addWidget(self._button(folder))
        self.setVisible(bool(folders))

    def _button(self, folder: Path) -> QWidget:
        open_it = partial(self._session.open, partial(open_case_again, folder))
        widget = button(describe(folder), open_it, "Go on with this patient")
        widget.setIcon(QIcon(QPixmap(str(folder / PICTURE))))
        widget.setIconSize(QSize(_SIDE, _SIDE))
        widget.setStyleSheet("text-align: left; padding: 2px;")
        return widget


def describe(folder: Path) -> str:
    """What there is of a patient, and when it was worked on."""
    images = " and ".join(image_kinds(folder))
    written = [path for path in (folder / "strokes.sqlite", folder / "views.json") if path.exists()]
    newest = max((path.stat().st_mtime for path in written), default=folder.stat().st_mtime)
    runs = len(list((folder / "runs").glob("[0-9]*")))
    contoured = f", {runs} training{'s' if runs > 1 else ''}" if runs else ""
    return f"{images}{contoured}\n{datetime.fromtimestamp(newest):%d %b %Y, %H:%M}"


def keep_picture(case: Case, limits: Limits) -> None:
    """Keep a small picture of a case with it; once."""
    path = case.folder / PICTURE
    if not path.exists():
        pixels = picture(case.study, limits)
        height, width = pixels.shape
        image = QImage(pixels.data, width, height, width, QImage.Format.Format_Grayscale8)
        if image.save(str(path)):
            keep_private(path)


def picture(study: Study, limits: Limits) -> np.ndarray:
    """The first image's middle axial slice, uint8, at most 96 pixels wide and high."""
    plane = study.first.array[study.grid.shape[0] // 2].astype(np.float32)
    step = max(1, int(np.ceil(max(plane.shape) / (2 * _SIDE))))
    black, white = limits
    scaled = (plane[::step, ::step] - black) / (white - black)
    return np.ascontiguousarray((255 * np.clip(scaled, 0, 1)).astype(np.uint8))


def _recent() -> list[Path]:
    """Case folders that are still there, the newest first."""
    names = (name for name in preferences().recent if name == Path(name).name)
    folders = (cases_folder() / name for name in names)
    return [folder for folder in folders if (folder / "case.json").is_file()]
