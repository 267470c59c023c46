"""What was found and is not used, and what seems to be missing: nothing is left out in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from cmfnet_napari.core.errors import UserError, list_names
from cmfnet_napari.core.images.series.scan_result import (
    REGISTRATION,
    STRUCTURES,
    DicomObject,
    ImageSeries,
    Scan,
    Why,
    left_out_notes,
)

_NAMED = 5  # of a kind, in a sentence


def check_readable(images: Iterable[ImageSeries], found: Scan) -> None:
    """Refuse images when files that may not be read lie beside their slices: they may be slices.

    Raises
    ------
    UserError
        Names the files.
    """
    for image in images:
        folders = {one.path.parent for one in image.stack.slices}
        closed = [
            entry
            for entry in found.left_out
            if entry.why is Why.CLOSED and entry.path.parent in folders
        ]
        if closed:
            raise UserError(
                f"{image.name} may lack slices. {left_out_notes(closed)[0]} Ask for the right to "
                "read them, or take them out of the folder."
            )


def check_used(found: Scan) -> None:
    """Refuse what was named and holds no DICOM: the user counts on it.

    Raises
    ------
    UserError
        Names it.
    """
    for path in found.barren:
        own = [e for e in found.left_out if e.path == path or path in e.path.parents]
        why = " ".join(left_out_notes(own)) or "It is of another kind."
        raise UserError(
            f"{path.name} holds no DICOM that can be read, and would be left out. {why} Unpack it, "
            "export it again or leave it out; images of other formats (NIfTI, NRRD, MHA) are "
            "imported by themselves, one file or two, without DICOM."
        )


def missing_slices(image: ImageSeries, found: Scan, named: bool = True) -> Iterator[str]:
    """What says that a series once had more slices, in sentences.

    Where they are kept, nothing is called as its header does (`named`): that may be a patient.
    """
    name = image.name if named else f"The {image.origin.modality}"
    stacks = [other.stack for other in found.images if _same(other, image)]
    series = [one for stack in stacks for one in stack.slices]
    aside = [one for stack in stacks[:1] for one in stack.aside]  # the same of all its stacks
    have = {one.uid for one in (*series, *aside)}
    for entry in found.objects:
        drawn = {uid for of, uid in entry.slices if of == image.origin.uid}
        lost = drawn - have
        if have & drawn and lost:
            label = entry.label or entry.path.name if named else "a structure set"
            yield (
                f"{name} may lack slices: {label} names {len(drawn)} of its slices, and "
                f"{len(lost)} of them are not there."
            )
    expected = max((one.of_how_many for one in series), default=0)
    counted = [one for one in aside if one.of_how_many == expected]  # a scout counts by itself
    there = len({(one.uid, one.frame) for one in (*series, *counted)})
    if there < expected:
        yield f"{name} may lack slices: it says {expected}, and {there} are there."
    numbers = {one.number for one in series if one.number is not None}
    if len(numbers) == len(series) > 1:
        aside_numbers = {one.number for one in aside}  # a scout's may be far from the others
        expected_numbers = set(range(min(1, *numbers), max(numbers)))
        lost_numbers = sorted(expected_numbers - numbers - aside_numbers)
        if lost_numbers:
            yield f"{name} may lack slices: {_listed(lost_numbers)}."


def not_used(
    chosen: Iterable[ImageSeries | DicomObject], found: Scan, named: bool = True
) -> list[str]:
    """What else lies in the folders, a sentence for each kind; no patient's own name.

    Parameters
    ----------
    chosen : iterable of ImageSeries or DicomObject
        What is used; the first is drawn on, whose patient counts.
    found : Scan
        All that was found.
    named : bool
        Call each as its header or its file does; else they are counted, as where it is kept.
    """
    used, tell = list(chosen), _some if named else _counted
    own = used[0].origin.patient
    every: list[ImageSeries | DicomObject] = [*found.images, *found.objects]
    rest = [entry for entry in every if entry not in used]
    here = [entry for entry in rest if entry.origin.patient == own]
    elsewhere = [entry for entry in rest if entry.origin.patient != own]
    others = [f"{count} {modality}" for modality, count in sorted(found.others.items())]
    notes = []
    if here:
        notes.append(f"Not used: {tell(here)}.")
    if elsewhere:
        or_nobody = "" if used[0].origin.is_named else ", or of nobody named"
        notes.append(f"Not used, of another patient{or_nobody}: {tell(elsewhere)}.")
    if others:
        notes.append(f"Not used, of no use here: {_first_of(others)}.")
    return notes


def _named(entry: ImageSeries | DicomObject) -> str:
    origin = entry.origin
    if isinstance(entry, ImageSeries):
        parts = (origin.modality, origin.description, entry.stack.name)
        fault = f"; {entry.stack.problem.rstrip('.')}" if entry.stack.problem else ""
        count = len(entry.stack.slices)
        return f"{' '.join(filter(None, parts))} ({count} slice{'s' * (count != 1)}{fault})"
    return f"{_kind(entry)} {entry.label or entry.path.name}"


def _kind(entry: ImageSeries | DicomObject) -> str:
    if isinstance(entry, ImageSeries):
        return entry.origin.modality
    kinds = {STRUCTURES: "structure set", REGISTRATION: "registration"}
    return kinds.get(entry.origin.modality, "segmentation")


def _counted(entries: Sequence[ImageSeries | DicomObject]) -> str:
    counts = Counter(map(_kind, entries))
    return ", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in counts.items())


def _some(entries: Sequence[ImageSeries | DicomObject]) -> str:
    return _first_of([_named(entry) for entry in entries])


def _first_of(names: Sequence[str]) -> str:
    more = f"; and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return "; ".join(names[:_NAMED]) + more


def _listed(numbers: list[int]) -> str:
    """``number 4 is``, ``numbers 1, 2, 3 are`` … not there, by Instance Number."""
    if len(numbers) == 1:
        return f"number {numbers[0]} is not there"
    return f"numbers {list_names(map(str, numbers))} are not there"


def _same(one: ImageSeries, other: ImageSeries) -> bool:
    return (one.origin.uid, one.origin.patient) == (other.origin.uid, other.origin.patient)
