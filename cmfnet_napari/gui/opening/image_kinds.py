"""What the images of the open patient are: CT, MR or PET; where that was guessed, it is changed."""

from __future__ import annotations

from functools import partial

from qtpy.QtWidgets import QComboBox, QLabel, QWidget

from cmfnet_napari.core.images.modality import MODALITIES
from cmfnet_napari.gui.patient.opened import call_images
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.widgets import column, row

_WORDS = {"CT": "CT", "MR": "MR", "PT": "PET"}
_TIP = (
    "How the image is shown and learnt from: a CT by its Hounsfield units, an MR or a PET by its "
    "own range of values. What is changed here is kept with the patient."
)


class ImageKinds(QWidget):
    """A list for each image; hidden while no patient is open.

    Attributes
    ----------
    boxes : list of QComboBox
        Of the first image and of the second.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.boxes = [QComboBox(), QComboBox()]
        self._labels = [QLabel("Image 1 is"), QLabel("Image 2 is")]
        for box in self.boxes:
            for kind in MODALITIES:
                box.addItem(_WORDS[kind], kind)
            box.setToolTip(_TIP)
            box.activated.connect(self._change)
        pairs = zip(self._labels, self.boxes, strict=True)
        layout = column(*(row(label, box, stretch=1) for label, box in pairs))  # the dock is narrow
        layout.setContentsMargins(0, 0, 0, 0)
        self.setLayout(layout)
        session.opened.connect(self._follow)
        session.closed.connect(self.hide)
        self.hide()

    def _follow(self) -> None:
        kinds = self._session.case.study.kinds
        for number, (label, box) in enumerate(zip(self._labels, self.boxes, strict=True)):
            there = number < len(kinds)
            label.setVisible(there)
            box.setVisible(there)
            if there:
                box.setCurrentIndex(box.findData(kinds[number]))
                box.setEnabled(self._session.writable)
        self.show()

    def _change(self) -> None:
        """The patient is read anew, as what the user says."""
        study = self._session.case.study
        said = tuple(box.currentData() for box in self.boxes[: len(study.kinds)])
        if said != study.kinds:
            wanted = (*said, "")[:2]
            self._session.open(partial(call_images, self._session.patient, wanted))
            self._follow()  # until it is so, and where it is refused
