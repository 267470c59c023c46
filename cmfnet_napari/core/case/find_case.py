"""The case that images have already, found by their voxels whatever file they come from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from platformdirs import user_data_path

from cmfnet_napari.core.case.card import CaseCard
from cmfnet_napari.core.case.folder import (
    CARD_FILE,
    Case,
    another_study,
    create_case,
    open_case,
    read_card,
    read_registrations,
)
from cmfnet_napari.core.case.lock import CaseReadOnlyError
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.registration.registrations import AS_IT_WAS, Registration

CASES_VARIABLE = "CMFNET_CASES"
_SAME_MM = 0.05  # a place of the second image that was read from another file


def cases_folder() -> Path:
    """Where cases are kept when nobody says otherwise (variable ``CMFNET_CASES``)."""
    chosen = os.environ.get(CASES_VARIABLE)
    return Path(chosen) if chosen else user_data_path("cmfnet-napari", appauthor=False) / "cases"


def case_for(
    study: Study, folder: str | Path | None = None, registration: Registration | None = None
) -> Case:
    """Return the case of a study: the one it already has, with its strokes, or a new one.

    It is the same study if its images have the same voxels at the same place, whatever format they
    were read from; what they are, the case says. A case that another window has open, or
    that cannot be written, comes read-only. `registration` says how
    the second image of a new case was placed.

    Raises
    ------
    UserError
        As `create_case` and `open_case`.
    """
    if folder is not None:
        own, lost = Path(folder), ""
    else:
        own, lost = _find(study, registration)
    if not (own / CARD_FILE).exists():
        case = create_case(own, study, registration)
    else:
        known = None if read_card(own).study == study.content_hash else study
        if known is not None and not _is_case_of(own, study, registration):
            raise another_study(own)
        try:
            case = open_case(own, None if known is not None else study)
        except CaseReadOnlyError as error:
            case = open_case(own, None if known is not None else study, read_only=True)
            case.notice = str(error)
        if known is not None:  # read from the case, to the bit; saved as this file lies
            case.study = replace(case.study, source_grid=study.source_grid)
    case.notice = " ".join(filter(None, (case.notice, lost)))
    return case


def _find(study: Study, registration: Registration | None) -> tuple[Path, str]:
    """The folder of a study's case, made or not, and what lies in its way, in a sentence."""
    by_bits = cases_folder() / study.content_hash[:16]  # as earlier versions called them
    if (by_bits / CARD_FILE).exists():
        return by_bits, ""
    lost = ""
    for folder in _named_after(study):
        if (folder / CARD_FILE).exists():
            if _is_case_of(folder, study, registration):
                return folder, lost
        elif not folder.exists() or not any(folder.iterdir()):
            return folder, lost
        else:
            lost = (
                f"The folder {folder.name} beside the cases has lost its {CARD_FILE}. Strokes in "
                "it were not taken over: bring it back from a backup, then open the images again."
            )
    raise AssertionError("there are always more names")


def _named_after(study: Study) -> Iterator[Path]:
    """Folders for studies of these voxels; there are several if they lay at several places."""
    name = study.voxel_hash[:16]
    yield cases_folder() / name
    number = 2
    while True:
        yield cases_folder() / f"{name}-{number}"
        number += 1


def _is_case_of(folder: Path, study: Study, registration: Registration | None) -> bool:
    """Whether a case was made of these voxels at this place."""
    card: CaseCard = read_card(folder)
    if card.voxels != study.voxel_hash or card.grid is None or not card.grid.same_place(study.grid):
        return False
    theirs, ours = card.mr_grid, study.second_grid
    if theirs is None or ours is None:
        return theirs is ours
    first = read_registrations(folder).entries[0].array
    placed = (registration or AS_IT_WAS.entries[0]).array
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in study.grid.shape])).reshape(3, -1).T
    points = study.grid.to_patient(corners)
    apart = points @ (first - placed)[:3, :3].T + (first - placed)[:3, 3]
    return theirs.same_place(ours) and bool(np.linalg.norm(apart, axis=1).max() <= _SAME_MM)
