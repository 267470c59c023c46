"""What a script may rely on; the package offers it as ``import cmfnet_napari as cmfnet``.

The command line calls the same functions. Everything else in the package may change without
notice. Nothing is imported before a function needs it: torch by `fit` and `predict` alone.

Arrays have the axes (z, y, x): slices towards the head, rows towards the back, columns towards the
patient's left, whatever order the file has. Lengths are millimetres, volumes millilitres.
Scribbles: 0 unlabelled, 1 background, 2, 3, … the classes. Labels of a contour: 0 background, 1,
2, … the classes in order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cmfnet_napari.core.errors import UserError as UserError

if TYPE_CHECKING:
    import numpy as np

    from cmfnet_napari.core.contours.metrics import Evaluation
    from cmfnet_napari.core.dicom.export.receipt import Receipt
    from cmfnet_napari.core.fit.config import Config
    from cmfnet_napari.core.fit.events import Event, Finished
    from cmfnet_napari.core.images.study import Study
    from cmfnet_napari.learning.predict.prediction import Prediction


@dataclass(frozen=True)
class FitResult:
    """What a fit left behind.

    Attributes
    ----------
    run : Path
        Folder of the run; `predict` takes it as a model.
    model : Path
        Weights and card, one safetensors file.
    prediction : Path
        Labels, uint8, on the first image's grid as it lies in its file.
    probabilities : Path
        That a voxel is not background, float32, 0 … 1, on the same grid.
    disagreement : Path or None
        How far the branches for both images are apart, uint8, percent; None when not compared.
    volumes_ml : dict of str to float
        Volume of every class by its name, ml.
    steps : int
        Steps of training.
    seconds : float
        Time of training, s.
    agreement : float
        Share of the stroke voxels that the prediction labels as drawn, 0 … 1. It is not the
        accuracy of the contour.
    held_out : float or None
        The same with strokes while they were held out; None when none were.
    stopped : bool
        Whether `request` ended the training.
    warning : str
        One sentence when few steps fitted into the time, else empty.
    """

    run: Path
    model: Path
    prediction: Path
    probabilities: Path
    disagreement: Path | None
    volumes_ml: dict[str, float]
    steps: int
    seconds: float
    agreement: float
    held_out: float | None
    stopped: bool
    warning: str

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON: paths as text, empty where there is no file."""
        values = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}
        return values | {"disagreement": str(self.disagreement or "")}


def open_study(
    first: str | Path,
    second: str | Path | None = None,
    *,
    mr: str | Path | None = None,
    modalities: Sequence[str] = (),
    subtract: float = 0.0,
) -> Study:
    """Read one image of a patient or two, and put both on the first one's grid.

    Any pair will do: CT and MR, two MR sequences, CT and PET, or one of them alone.

    Parameters
    ----------
    first : path
        The image that is drawn on: NIfTI, NRRD, MHA/MHD, or the folder of a DICOM series. A CT is
        in Hounsfield units; the units of others do not matter.
    second : path, optional
        The same of an image that lies on the first already. It needs no grid in common with it; it
        is interpolated linearly.
    mr : path, optional
        A second image that is an MR.
    modalities : sequence of str
        What the images are, ``"CT"``, ``"MR"`` or ``"PT"``, the first one's first. Where nothing
        is said, DICOM headers tell; else the values, which tell a CT from the others alone: a
        warning says what was guessed.
    subtract : float
        Taken from the first image's values, if it is a CT: 1024 where they lack the offset of
        Hounsfield units, which is said in a warning. 10,000 at most.

    Returns
    -------
    Study
        ``first`` and ``second`` with ``array`` (z, y, x), ``modality`` and ``unit``, and the
        ``grid`` they share.

    Raises
    ------
    UserError
        A file is missing, damaged, or no 3D image; slices are missing or uneven; values are not
        finite; the second image does not meet the first, is of another patient by its header, or
        is the first once more; there is no such modality, or `subtract` is no offset of a CT.
    TypeError
        Both `second` and `mr` are given.
    """
    from cmfnet_napari.core.images import study
    from cmfnet_napari.core.images.modality import parse_modalities

    if second is not None and mr is not None:
        raise TypeError("a study has one second image: give either second or mr")
    one, other = parse_modalities(modalities)
    kinds = one, other or ("MR" if mr is not None else "")
    opened = study.open_study(first, mr if second is None else second, kinds).less(subtract)
    study.check_offset(opened)
    return opened


def load_scribbles(path: str | Path, study: Study) -> np.ndarray:
    """Read strokes that were drawn on the first image.

    Parameters
    ----------
    path : path
        NIfTI, NRRD or MHA on the first image's grid, axes in any order: 0 unlabelled, 1 background,
        2, 3, … the classes.
    study : Study
        The patient they are of.

    Returns
    -------
    uint8 array (z, y, x)
        On the study's grid.

    Raises
    ------
    UserError
        Unreadable, on another grid than the first image, or a value is no code.
    """
    from cmfnet_napari.core.strokes.scribbles import check_codes

    return check_codes(load_labels(path, study), Path(path).name)


def load_labels(path: str | Path, study: Study) -> np.ndarray:
    """Read a contour, such as a reference, or any other image on the first one's grid.

    Parameters
    ----------
    path : path
        NIfTI, NRRD or MHA on the first image's grid, axes in any order.
    study : Study
        The patient it is of.

    Returns
    -------
    array (z, y, x)
        On the study's grid, in the file's dtype.

    Raises
    ------
    UserError
        Unreadable, or on another grid than the first image.
    """
    from cmfnet_napari.core.images import study as studies

    return studies.load_values(path, study.grid, study.names[0])


def save_labels(labels: np.ndarray, study: Study, path: str | Path) -> Path:
    """Write labels, scribbles or probabilities on the first image's grid as it lies in its file.

    Parameters
    ----------
    labels : array (z, y, x)
        On the study's grid: integers, bool or float.
    study : Study
        The patient they are of.
    path : path
        Ends in ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``. A file that is there is replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UserError
        Another ending, or the file cannot be written.
    """
    from cmfnet_napari.core.images import study as studies

    return studies.save_labels(labels, study, path)


def make_config(preset: str = "quick", *, base: str | Path | None = None, **changes: Any) -> Config:
    """Every number of a fit: a preset, the model it starts from, and what you change.

    Parameters
    ----------
    preset : str
        ``"quick"``, ``"standard"`` or ``"paper"``.
    base : path or str, optional
        Model to start from: a run folder, a model file, or one that comes with the package, such as
        ``"any-structure"``. Its network and voxel size are taken over, and it trains gently; a
        model that reads strokes not at all.
    **changes
        Fields of the configuration, such as ``minutes=1.0`` (min), ``spacing=2.0`` (mm),
        ``steps=100``, ``seed=1``.

    Returns
    -------
    Config
        Frozen and checked.

    Raises
    ------
    UserError
        There is no such preset, model or field, or a value is outside its range.
    """
    from cmfnet_napari.core.fit.model_card import read_card, start_config

    return start_config(preset, None if base is None else read_card(base), **changes)


def fit(
    study: Study,
    scribbles: np.ndarray | str | Path,
    out: str | Path,
    config: Config | None = None,
    *,
    base: str | Path | None = None,
    names: Sequence[str] | None = None,
    device: str = "auto",
    on_event: Callable[[Event], None] | None = None,
    request: Callable[[], Literal["", "stop", "quit"]] | None = None,
    on: str | None = None,
    via: str | None = None,
) -> FitResult | None:
    """Train CmFNet on one patient's strokes and contour the patient.

    Given again with the same arguments after it was broken off, it goes on.

    Parameters
    ----------
    study : Study
        The patient.
    scribbles : uint8 array (z, y, x), or path
        Strokes on the study's grid, or their file. Some background (1) and some of every class.
    out : path
        New folder for the run, or that of a fit that was broken off.
    config : Config, optional
        From `make_config`; ``quick`` when not given.
    base : path or str, optional
        Model to start from; give it to `make_config` too.
    names : sequence of str, optional
        Names of the classes 1, 2, …, for the volumes.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.
    on_event : callable, optional
        Takes every event while it trains; ``event.event`` says which it is: ``"step"`` (with
        ``progress``, 0 … 1, and ``losses``), ``"preview"``, ``"notice"``, ``"paused"``, and so on.
    request : callable, optional
        Asked all the time: ``""`` to go on, ``"stop"`` to keep the best so far, ``"quit"`` to save
        the state and leave.
    on : str, optional
        Another computer that does it, as in ``ssh NAME``.
    via : str, optional
        Command that starts it there, such as ``srun --gres=gpu:1``.

    Returns
    -------
    FitResult or None
        None after ``"quit"``.

    Raises
    ------
    UserError
        The strokes do not do, the folder holds something else, the model has other classes, the
        device is not there, memory does not suffice, or training diverged.
    """
    began = time.monotonic()
    strokes = _strokes(scribbles, study)
    config = config or make_config(base=base)
    if base is not None:
        _say_outside_card(base, study)
    if on is not None:
        from cmfnet_napari.remote.elsewhere import fit_elsewhere
        from cmfnet_napari.remote.hosts import host_called

        where = Path(out)
        ended = fit_elsewhere(
            study,
            strokes,
            where,
            config,
            host_called(on, via),
            base,
            device=device,
            names=names,
            on_event=on_event,
            request=request,
        )
        return None if ended is None else _fit_result(where, ended)
    from cmfnet_napari.learning.fit.callbacks import Hooks
    from cmfnet_napari.learning.fit.start import fit as run_fit

    run = run_folder(Path(out))
    hooks = Hooks()
    hooks.emit = on_event or hooks.emit
    hooks.request = request or hooks.request
    finished = run_fit(
        study,
        strokes,
        run,
        config,
        device=device,
        base=base,
        names=names,
        hooks=hooks,
        began=began,
    )
    return None if finished is None else _fit_result(run, finished)


def predict(
    model: str | Path,
    study: Study,
    scribbles: np.ndarray | str | Path | None = None,
    *,
    memory_gib: float | None = None,
    disagreement: bool = False,
    device: str = "auto",
    on_event: Callable[[Event], None] | None = None,
    on: str | None = None,
    via: str | None = None,
) -> Prediction:
    """Contour a patient with a model that is trained already.

    Parameters
    ----------
    model : path or str
        Run folder, model file, or one that comes with the package, such as ``"any-structure"``.
    study : Study
        The patient.
    scribbles : uint8 array (z, y, x), or path, optional
        Strokes on this patient, for a model that reads them. Not given: those that a run's own
        prediction of this patient was made from.
    memory_gib : float, optional
        Memory it may use, GiB; else a share of what is free.
    disagreement : bool
        Compute how far the branches for both images are apart, too.
    device : str
        As in `fit`.
    on_event : callable, optional
        As in `fit`, of what another computer says.
    on, via : str, optional
        Another computer that does it, and what starts it there, as in `fit`. Memory cannot be
        limited there, nor the branches be compared.

    Returns
    -------
    Prediction
        ``labels`` (uint8), ``probability`` that a voxel is not background (float32, 0 … 1) and
        ``disagreement`` (float32, 0 … 1, or None), each (z, y, x) on the study's grid.

    Raises
    ------
    UserError
        No such model, a damaged one, the device is not there, the model needs strokes that are
        not given, or memory does not suffice.
    """
    from cmfnet_napari.core.strokes.taken_for_strokes import say_whole

    if scribbles is not None:
        scribbles = _strokes(scribbles, study)
        say_whole(scribbles, study)
    if on is not None:
        if disagreement or memory_gib is not None:
            raise UserError(
                "On another computer memory is not limited, and the branches are not compared: "
                "leave memory and disagreement out, or predict on this computer."
            )
        return _predict_on(model, study, scribbles, device, on_event, on, via)
    from cmfnet_napari.learning.engine.device import pick_device
    from cmfnet_napari.learning.fit.run_folder import run_scribbles
    from cmfnet_napari.learning.model.checkpoint import load_model
    from cmfnet_napari.learning.predict.predictor import predict_study

    network, card = load_model(model, pick_device(device))
    _say_outside_card(model, study)
    memory = None if memory_gib is None else memory_gib * 2**30
    given = run_scribbles(model, card, study) if scribbles is None else scribbles
    strokes = None if given is None else _strokes(given, study)
    return predict_study(network, card, study, memory, strokes, branches=disagreement)


def evaluate(
    prediction: np.ndarray | str | Path,
    reference: np.ndarray | str | Path,
    study: Study | None = None,
    *,
    names: Sequence[str] | None = None,
    tolerance_mm: float = 2.0,
    tolerances_mm: Mapping[str, float] | None = None,
) -> Evaluation:
    """Compare a contour with a reference, class by class, in millimetres.

    Parameters
    ----------
    prediction, reference : integer or bool array (z, y, x), or path
        Labels: arrays on the study's grid, or files.
    study : Study, optional
        The patient; two files on one grid do without.
    names : sequence of str, optional
        Names of the classes 1, 2, …
    tolerance_mm : float
        Distance, mm, at which surfaces still count as the same, for the surface DSC.
    tolerances_mm : mapping of str to float, optional
        The same of some classes by their names.

    Returns
    -------
    Evaluation
        ``classes``, scores by name, and their ``mean``: ``dsc`` and ``surface_dsc`` (0 … 1),
        ``asd_mm``, ``hd95_mm``, ``hd_mm``, added path length ``path_mm`` and ``path_share``,
        ``volume_ml``, ``reference_ml``; None where undefined.

    Raises
    ------
    UserError
        A file is unreadable, or the two are on different grids; a tolerance is none, or of a
        class that neither has.
    TypeError
        Arrays without their study.
    """
    from cmfnet_napari.core.contours.metrics import evaluate as judge

    if study is not None:
        ours = _labels(prediction, study, "the prediction")
        theirs = _labels(reference, study, "the reference")
        return judge(ours, theirs, study.grid, names, tolerance_mm, tolerances_mm)
    if not isinstance(prediction, str | Path) or not isinstance(reference, str | Path):
        raise TypeError("arrays are compared on their study's grid: give the study too")
    return _evaluate_files(Path(prediction), Path(reference), names, tolerance_mm, tolerances_mm)


def scribble(
    labels: np.ndarray | str | Path,
    study: Study,
    *,
    margin_mm: float = 10.0,
    coverage_percent: float = 0.06,
    classes: Sequence[int] | None = (),
    class_margin_mm: float = 2.0,
    class_coverage_percent: float = 0.04,
    whole: bool = False,
    seed: int = 0,
) -> np.ndarray:
    """Automatic strokes from a rough or old contour: background around it, and some inside.

    Parameters
    ----------
    labels : integer or bool array (z, y, x), or path
        The contour on the study's grid, or its file: 0 background, 1, 2, … the classes.
    study : Study
        The patient; background is drawn inside the body only.
    margin_mm : float
        Kept free around the contour, mm.
    coverage_percent : float
        Background strokes, percent of all voxels.
    classes : sequence of int, or None
        Classes (1, 2, …) that get strokes too; None: all that occur. By default none.
    class_margin_mm : float
        Kept free inside the border of a class, mm.
    class_coverage_percent : float
        Strokes of a class, percent of all voxels.
    whole : bool
        The whole eroded regions, not strokes in them.
    seed : int
        The same seed, the same strokes.

    Returns
    -------
    uint8 array (z, y, x)
        Scribbles on the study's grid, for `fit` or `save_labels`.

    Raises
    ------
    UserError
        Another grid, a class that does not occur, or nothing is left after erosion.
    """
    from cmfnet_napari.core.strokes.from_masks import Erosion, scribble_labels

    name = Path(labels).name if isinstance(labels, str | Path) else "The contour"
    return scribble_labels(
        _array(labels, study),
        study,
        None if classes is None else list(classes),
        Erosion(margin_mm, coverage_percent / 100, whole, seed),
        Erosion(class_margin_mm, class_coverage_percent / 100, whole, seed),
        name,
    )


def export_rtstruct(
    labels: np.ndarray | str | Path,
    reference: str | Path,
    out: str | Path,
    study: Study | None = None,
    *,
    names: Sequence[str] = (),
    types: Sequence[str] = (),
    model: str = "",
    add_to: str | Path | None = None,
    how: Literal["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"] | None = None,
    series: str = "",
    overwrite: bool = False,
) -> Receipt:
    """Write a contour as a DICOM structure set, once it reads back as it should.

    Parameters
    ----------
    labels : integer or bool array (z, y, x), or path
        The contour: an array on the study's grid, a file, or a case folder, whose contour is
        written as it was corrected by hand.
    reference : path
        Folder with the DICOM series it was drawn on.
    out : path
        File to write, ``.dcm``.
    study : Study, optional
        The patient; needed for an array. Its voxels must be those of the series.
    names : sequence of str
        Name of the structure, one a class that occurs; by default GTV, or GTV1, GTV2, …
    types : sequence of str
        GTV, CTV, PTV, ORGAN, AVOIDANCE or EXTERNAL: one a class, or one for all; by default what
        TG-263 has for the name, such as ORGAN for ``Bladder``, else GTV.
    model : str
        Name of the model that made it, written into the file; by default what the case says,
        else CmFNet.
    add_to : path, optional
        Structure set whose structures the new file takes over; that file stays as it is.
    how : str, optional
        ROI Generation Algorithm: ``"SEMIAUTOMATIC"`` where the contour rests on strokes or
        corrections, which is what is written if nothing is said; ``"AUTOMATIC"`` for a model that
        saw neither; ``"MANUAL"``.
    series : str
        Series Instance UID, if the contour lies on several.
    overwrite : bool
        Replace the file if it is there.

    Returns
    -------
    Receipt
        What other code found in the file: ``as_dict()`` has Dice, volume and shift a structure.

    Raises
    ------
    UserError
        The contour is empty or lies on no series of the folder; names or types that do not do; the
        file is there; or it read back differently. Nothing was written then.
    TypeError
        An array without its study.
    """
    return export_as(
        "rtstruct", labels, reference, out, study,
        names=names, types=types, model=model, add_to=add_to, how=how, series=series,
        overwrite=overwrite,
    )  # fmt: skip


def sample_patient(folder: str | Path) -> dict[str, Path]:
    """Write the built-in synthetic patient: a thigh with a sarcoma. No person's data is in it.

    Parameters
    ----------
    folder : path
        Takes the four files; made if it is not there. It holds nothing else, or the same patient
        as it was written before.

    Returns
    -------
    dict of str to Path
        ``ct``, ``mr``, ``scribbles`` and ``truth``.

    Raises
    ------
    UserError
        The folder holds other files; it or a file cannot be written.
    """
    from cmfnet_napari.core.samples.phantom import sample_folder, write_phantom

    return write_phantom(sample_folder(Path(folder)))


# What the command line needs besides; no part of the public face.


def run_folder(out: Path) -> Path:
    """A new folder for a fit, or that of one that was broken off.

    Raises
    ------
    UserError
        It holds something else, or cannot be made.
    """
    from cmfnet_napari.core.files import new_folder
    from cmfnet_napari.core.fit.runs import STATE_FILE

    return out if (out / STATE_FILE).exists() else new_folder(out)


def export_as(
    kind: str,
    labels: np.ndarray | str | Path,
    reference: str | Path,
    out: str | Path,
    study: Study | None = None,
    *,
    names: Sequence[str] = (),
    types: Sequence[str] = (),
    model: str = "",
    add_to: str | Path | None = None,
    how: Literal["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"] | None = None,
    series: str = "",
    overwrite: bool = False,
    drawn_on: str | Path | None = None,
) -> Receipt:
    """As `export_rtstruct`; `kind` is ``rtstruct``, ``seg`` or ``nifti``."""
    from cmfnet_napari.core.contours.components import class_name
    from cmfnet_napari.core.dicom.export.checked_export import classes_in, export
    from cmfnet_napari.core.dicom.export.provenance import CMFNET, Maker
    from cmfnet_napari.core.dicom.export.reference import read_reference
    from cmfnet_napari.core.dicom.export.roi import make_rois
    from cmfnet_napari.core.dicom.export.same_image import check_drawn_on
    from cmfnet_napari.core.images.study import label_image, to_source_image
    from cmfnet_napari.core.review.case_contour import case_contour, is_case

    by_hand, itself, colors = False, False, {}
    if isinstance(labels, str | Path) and is_case(labels):
        found = case_contour(labels)
        by_hand, itself, study = found.corrected, found.by_itself, found.study
        model, colors = model or found.model, found.colors
        image = to_source_image(found.labels, found.study)
        names = names or [class_name(code, found.names) for code in classes_in(image)]
    elif isinstance(labels, str | Path):
        image = label_image(labels)
    elif study is None:
        raise TypeError("an array lies on its study's grid: give the study too")
    else:
        image = to_source_image(_labels(labels, study, "the contour"), study)
    rois = make_rois(classes_in(image), names, types, colors)
    series_found = read_reference(Path(reference), series, image)
    check_drawn_on(series_found, study, drawn_on, labels)
    maker = Maker(model or CMFNET, how or ("AUTOMATIC" if itself else "SEMIAUTOMATIC"), by_hand)
    return export(
        image, series_found, rois, kind, out, maker, add_to=add_to, overwrite=overwrite,
        sources=_read_by_export(labels, drawn_on),
    )  # fmt: skip


def _read_by_export(labels: np.ndarray | str | Path, drawn_on: str | Path | None) -> list[Path]:
    """Files and folders that an export reads, and that it must not write into.

    Of a case these are its images and runs: beside them an earlier export may lie.
    """
    given = [Path(one) for one in (labels, drawn_on) if isinstance(one, str | Path)]
    files = [path for path in given if path.is_file()]
    return files + [path / name for path in given if path.is_dir() for name in ("study", "runs")]


def _say_outside_card(model: str | Path, study: Study) -> None:
    """Warn where a patient is outside of what a model's card says."""
    from cmfnet_napari.core.errors import say
    from cmfnet_napari.core.fit.card_scope import outside_card
    from cmfnet_napari.core.fit.card_sections import read_full_card

    try:
        sentences = outside_card(read_full_card(model), study)
    except UserError as error:  # of the card alone: whether the model can be used is asked next
        sentences = [str(error)]
    for sentence in sentences:
        say(sentence)


def _array(labels: np.ndarray | str | Path, study: Study) -> np.ndarray:
    """An array as it is; a file's on the study's grid."""
    if isinstance(labels, str | Path):
        return load_labels(labels, study)
    if labels.shape != study.grid.shape:
        raise UserError(
            f"The array has the shape {labels.shape}, the {study.names[0]} {study.grid.shape} "
            "(z, y, x)."
        )
    return labels


def _labels(labels: np.ndarray | str | Path, study: Study, name: str) -> np.ndarray:
    """A contour, uint8 on the study's grid, from an array or a file; `name` is the array's."""
    from cmfnet_napari.core.images.label_map import to_labels

    name = Path(labels).name if isinstance(labels, str | Path) else name
    return to_labels(_array(labels, study), name)


def _strokes(scribbles: np.ndarray | str | Path, study: Study) -> np.ndarray:
    """Checked scribbles, uint8, from an array or a file."""
    if isinstance(scribbles, str | Path):
        return load_scribbles(scribbles, study)
    from cmfnet_napari.core.strokes.scribbles import check_codes

    return check_codes(_array(scribbles, study))


def _evaluate_files(
    prediction: Path,
    reference: Path,
    names: Sequence[str] | None,
    tolerance_mm: float,
    tolerances_mm: Mapping[str, float] | None,
) -> Evaluation:
    from cmfnet_napari.core.contours.metrics import evaluate as judge
    from cmfnet_napari.core.images.study import label_image, turn
    from cmfnet_napari.core.images.volume import from_image

    ours, theirs = (from_image(turn(label_image(path))) for path in (prediction, reference))
    if not ours.grid.same_place(theirs.grid):
        raise UserError(
            f"{prediction.name} and {reference.name} are on different grids: "
            f"{ours.grid.difference(theirs.grid)}. Export both on one image."
        )
    return judge(ours.array, theirs.array, ours.grid, names, tolerance_mm, tolerances_mm)


def _predict_on(
    model: str | Path,
    study: Study,
    scribbles: np.ndarray | str | Path | None,
    device: str,
    on_event: Callable[[Event], None] | None,
    on: str,
    via: str | None,
) -> Prediction:
    from cmfnet_napari.learning.predict.prediction import Prediction
    from cmfnet_napari.remote.elsewhere import predict_elsewhere
    from cmfnet_napari.remote.hosts import host_called

    _say_outside_card(model, study)
    strokes = None if scribbles is None else _strokes(scribbles, study)
    host = host_called(on, via)
    labels, probability = predict_elsewhere(model, study, strokes, host, device, on_event)
    return Prediction(labels, probability)


def _fit_result(run: Path, finished: Finished) -> FitResult:
    """The event that ends a fit, with its files named from here."""
    return FitResult(
        run=run,
        model=run / finished.model,
        prediction=run / finished.labels,
        probabilities=run / finished.probabilities,
        disagreement=run / finished.disagreement if finished.disagreement else None,
        volumes_ml=finished.volumes_ml,
        steps=finished.steps,
        seconds=finished.seconds,
        agreement=finished.agreement,
        held_out=finished.held_out,
        stopped=finished.stopped,
        warning=finished.warning,
    )
