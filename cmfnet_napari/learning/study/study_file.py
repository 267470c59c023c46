"""The study file: data, folds, seeds, budget, methods, and what is compared with what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    ValidationError,
    model_validator,
)

from cmfnet_napari.core.contours.metrics import MEASURES
from cmfnet_napari.core.errors import UserError, list_names
from cmfnet_napari.core.fit.config import setting_problem
from cmfnet_napari.core.words import file_name
from cmfnet_napari.learning.cohort.cohort_file import Row, raise_problems, read_cohort
from cmfnet_napari.learning.cohort.plan import Split, make_splits
from cmfnet_napari.learning.rivals.settings import MethodConfig, method_config

VOLUME_RATIO = "volume_ratio"  # of the reference: whether a method shrinks contours
_METRICS = (*(measure.name for measure in MEASURES), VOLUME_RATIO)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Sweep(_Part):
    """One method with several values of some settings, as in the paper's Fig. 6.

    Attributes
    ----------
    settings : list of str
        Settings that all take the value.
    values : list of float
        Taken in turn.
    """

    settings: tuple[str, ...] = Field(min_length=1)
    values: tuple[float, ...] = Field(min_length=2)


class Entry(_Part):
    """A method of a study.

    Attributes
    ----------
    method : str
        A row of `rivals.settings.METHODS`.
    name : str
        What tables call it; the method's own name when empty.
    settings : dict
        What it has otherwise than the study's settings.
    sweep : Sweep or None
        Makes a method of each of its values.
    """

    method: str
    name: str = ""
    settings: dict[str, Any] = {}
    sweep: Sweep | None = None

    @property
    def title(self) -> str:
        """What tables call it."""
        return self.name or self.method


class GpuPart(_Part):
    """The same methods, folds and seeds in another size, where there is a GPU.

    Attributes
    ----------
    steps, minutes : numbers
        Budget of every model; one of them.
    settings : dict
        Of all methods, in place of the study's.
    """

    steps: int | None = Field(None, ge=1)
    minutes: float | None = Field(None, gt=0)
    settings: dict[str, Any] = {}


class StudyFile(_Part):
    """A comparison of methods on the same data, folds, seeds and budget.

    Attributes
    ----------
    title : str
        Over the table.
    cohort : str
        CSV, see `cohort_file.read_cohort`; relative to the study file. Empty: it is given by
        who runs the study.
    folds : int
        Cross-validation by patient; 0: the file's own splits.
    seeds : list of int
        Every method is trained with each.
    steps, minutes : numbers
        Budget of every model; one of them.
    settings : dict
        Of all methods.
    methods : list of Entry
        In the order of the table.
    metrics : list of str
        Columns of the table.
    compare : list of (str, str)
        Pairs of methods by their names: the first less the second.
    gpu : GpuPart or None
        What is done besides, on a GPU alone.
    """

    title: str
    cohort: str = ""
    folds: int = Field(0, ge=0)
    seeds: tuple[NonNegativeInt, ...] = Field((0,), min_length=1)
    steps: int | None = Field(None, ge=1)
    minutes: float | None = Field(None, gt=0)
    settings: dict[str, Any] = {}
    methods: tuple[Entry, ...] = Field(min_length=1)
    metrics: tuple[str, ...] = Field(("dsc", "asd_mm", "hd95_mm"), min_length=1)
    compare: tuple[tuple[str, str], ...] = ()
    gpu: GpuPart | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> StudyFile:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give either steps or minutes: the budget of every model")
        if self.gpu is not None and (self.gpu.steps is None) == (self.gpu.minutes is None):
            raise ValueError("gpu: give either steps or minutes: the budget of every model")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)}: one is there twice")
        unknown = [name for name in self.metrics if name not in _METRICS]
        if unknown:
            raise ValueError(f"there is no metric {unknown[0]}; choose {', '.join(_METRICS)}")
        names = [name for name, _ in self.variants()]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ValueError(f"two methods are called {twice[0]}; give one another name")
        _check_pictures([entry.title for entry in self.methods if entry.sweep is not None])
        for pair in self.compare:
            for name in pair:
                if name not in names:
                    raise ValueError(f"compare: no method is called {name} ({', '.join(names)})")
        return self

    def on_gpu(self) -> StudyFile | None:
        """The study that its part for a GPU is."""
        if self.gpu is None:
            return None
        values = self.model_dump() | self.gpu.model_dump()
        return StudyFile.model_validate(values | {"title": f"{self.title}, GPU", "gpu": None})

    def variants(self) -> Iterator[tuple[str, Entry]]:
        """Every method by its name, those of a sweep one by one."""
        for entry in self.methods:
            if entry.sweep is None:
                yield entry.title, entry
                continue
            for value in entry.sweep.values:
                own = dict.fromkeys(entry.sweep.settings, value)
                changes = {"settings": entry.settings | own, "sweep": None}
                yield swept(entry.title, value), entry.model_copy(update=changes)


def picture_name(title: str) -> str:
    """Of a sweep, without an ending."""
    return f"sweep-{file_name(title)}"


def _check_pictures(titles: Sequence[str]) -> None:
    """Raise ValueError for two sweeps of which one's picture would be written over the other's."""
    first: dict[str, str] = {}
    for title in titles:
        name = picture_name(title)
        if name in first:
            raise ValueError(
                f"the pictures of the sweeps {first[name]} and {title} would both be called "
                f"{name}; give one another name"
            )
        first[name] = title


def swept(title: str, value: float) -> str:
    """Name of a method of a sweep."""
    return f"{title} {value:g}"


class Job(NamedTuple):
    """One training of a study: a method with a seed, on all folds.

    Attributes
    ----------
    method : str
        Its name in tables.
    seed : int
        Of weights, patches and folds' order.
    folder : str
        Below the study's; jobs with the same numbers have the same one, and are trained once.
    config : MethodConfig
        Everything about its models.
    gpu : bool
        It is of the part for a GPU.
    """

    method: str
    seed: int
    folder: str
    config: MethodConfig
    gpu: bool = False


class Planned(NamedTuple):
    """A study with its cohort file and its jobs."""

    study: StudyFile
    cohort: Path
    jobs: tuple[Job, ...]


def read_study(path: Path, cohort: Path | None = None) -> Planned:
    """Read a study file and check all that needs no image to be read.

    Parameters
    ----------
    path : Path
        YAML, see `StudyFile`.
    cohort : Path, optional
        In place of the cohort file that it names.

    Raises
    ------
    UserError
        The file cannot be read; a setting of it, a method or its settings are unknown or out of
        range; the cohort has a problem (see `read_cohort`), or cannot be split so.
    """
    study = _parse(path)
    if cohort is None and not study.cohort:
        raise UserError(f"{path.name} names no cohort file; give one with --cohort.")
    cohort = cohort or path.parent / study.cohort
    rows = read_cohort(cohort)
    splits = make_splits(rows, study.folds, study.seeds[0])
    on_gpu = study.on_gpu()
    jobs = tuple(_jobs(study))
    if on_gpu is not None:
        jobs += tuple(
            job._replace(folder=f"{GPU_FOLDER}/{job.folder}", gpu=True) for job in _jobs(on_gpu)
        )
    problems = [*_label_problems(splits, jobs), *_stroke_problems(rows, jobs)]
    raise_problems(cohort.name, problems)
    configs = {job.folder: job.config for job in jobs}
    if twice := [job.folder for job in jobs if job.config != configs[job.folder]]:
        raise UserError(
            f"{path.name}: names of two methods make the same folder, {twice[0]}; change one."
        )
    return Planned(study, cohort, jobs)


def _label_problems(splits: Sequence[Split], jobs: Sequence[Job]) -> Iterator[str]:
    """Who cannot be learnt from, or judged by."""
    if not any(row.mask for split in splits for row in split.held):
        yield "nobody would be judged: give folds, or rows of split test, with masks"
    learnt = dict.fromkeys(row for split in splits for row in split.train)
    for labels, column in (("scribbles", "scribbles"), ("masks", "mask")):
        methods = dict.fromkeys(job.method for job in jobs if job.config.labels == labels)
        bare = [row.place for row in learnt if getattr(row, column) is None]
        if methods and bare:
            yield f"{list_names(methods)} learns from {labels}, but {list_names(bare)} has none"


def _stroke_problems(rows: Sequence[Row], jobs: Sequence[Job]) -> Iterator[str]:
    """Who has no strokes for a model that reads them, also where it is judged."""
    methods = dict.fromkeys(job.method for job in jobs if job.config.stroke_maps)
    bare = [row.place for row in rows if row.scribbles is None]
    if methods and bare:
        yield f"{list_names(methods)} reads strokes (stroke_maps), but {list_names(bare)} has none"


def _one_value_each(loader: Any, node: Any) -> dict[Any, Any]:
    """A mapping of YAML; a name that is there twice is an error."""
    names = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
    if twice := [name for name, count in names.items() if count > 1]:
        line = node.start_mark.line + 1
        raise ValueError(f"{twice[0]} is there twice in what begins at line {line}")
    mapping: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    return mapping


_Loader: Any = type("_Loader", (yaml.SafeLoader,), {})
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _one_value_each)


def _parse(path: Path) -> StudyFile:
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a SafeLoader
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}). Check the name.") from error
    except (ValueError, yaml.YAMLError) as error:  # also of bytes, or a date that is none
        raise UserError(f"{path.name} is no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise UserError(f"{path.name} is no study: it holds no settings by name.")
    try:
        return StudyFile.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{path.name}, {setting_problem(error)}") from error


def _jobs(study: StudyFile) -> Iterator[Job]:
    budget: dict[str, Any] = {"steps": study.steps} if study.steps else {"minutes": study.minutes}
    if study.minutes:
        budget["steps"] = MAX_STEPS
    folders: dict[str, str] = {}  # by configuration: as in a sweep, two methods may be the same
    for name, entry in study.variants():
        settings = {**study.settings, **entry.settings}
        for taken in ("seed", "steps", "minutes"):
            if taken in settings:
                raise UserError(f"Method {name}: {taken} is the study's, the same for all.")
        for seed in study.seeds:
            config = method_config(entry.method, **{**settings, **budget, "seed": seed})
            own = f"{file_name(name)}-{seed}"
            yield Job(name, seed, folders.setdefault(config.model_dump_json(), own), config)


GPU_FOLDER = "gpu"  # below the study's
MAX_STEPS = 10_000_000  # where minutes end a training
