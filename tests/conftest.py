"""Grids, images and data every room's tests share."""

from __future__ import annotations

import locale
import os
import pickle
import socketserver
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex

import numpy as np
import pytest
import SimpleITK as sitk
from filelock import FileLock

import cmfnet_napari.learning  # noqa: F401  sets how torch's threads wait, before torch is imported
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.samples import phantom
from tests.dicom_files import kept_locale

pytest_plugins = ["napari.utils._testsupport"]  # its fixture `make_napari_viewer`
DATA_VARIABLE = "CMFNET_TEST_DATA"
ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, those with the most of them before: none begins at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of the real data, beside the checkout or where the variable says."""
    folder = Path(os.environ.get(DATA_VARIABLE, ROOT.parent / "shared" / "data"))
    if not (folder / "README.md").exists():
        pytest.skip(f"no real test data at {folder}; set {DATA_VARIABLE} to its folder")
    return folder


@pytest.fixture(scope="session", autouse=True)
def quick_servers() -> Iterator[None]:
    """Servers of Python's look more often than every half second whether they are to end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socketserver.BaseServer.serve_forever, "__defaults__", (0.05,))
        yield


@pytest.fixture(autouse=True)
def one_encoding() -> Iterator[None]:
    """Who changes the locale breaks whatever is read later in the same process."""
    before = locale.getencoding()
    yield
    assert locale.getencoding() == before


@pytest.fixture(autouse=True)
def reviews(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """The key that tests sign reviews with is nobody's own."""
    folder = tmp_path_factory.getbasetemp() / "reviews" / token_hex(8)  # made where it is used
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CMFNET_REVIEW", str(folder))
        yield


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> phantom.Phantom:
    """The synthetic patient, computed once for all processes of a run: that takes seconds."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with FileLock(folder / "synthetic.lock"):
        if not (kept := folder / "synthetic").exists():
            kept.write_bytes(pickle.dumps(phantom.make_phantom(seed=0)))
        return pickle.loads(kept.read_bytes())


def rotation(x: float, y: float, z: float) -> tuple[float, ...]:
    """Direction cosines of turns about the patient's x, y and z, degrees."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*np.radians([x, y, z]))
    return turn.GetMatrix()


@pytest.fixture
def oblique_grid() -> Grid:
    """Anisotropic, not cubic, in no patient plane."""
    return Grid((11, 13, 17), (3.0, 1.2, 0.8), (-31.0, 12.5, 205.0), rotation(14.0, -9.0, 21.0))


@pytest.fixture
def write_series() -> Callable[..., Path]:
    """Write a SimpleITK image as a DICOM series, with slices left out if wanted."""

    def write(image: sitk.Image, folder: Path, skip: tuple[int, ...] = ()) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        number = f"1.2.826.0.1.3680043.2.1125.{zlib.crc32(str(folder).encode())}"
        direction = np.array(image.GetDirection()).reshape(3, 3)
        cosines = "\\".join(f"{v:.9f}" for v in direction[:, :2].T.ravel())
        for k in range(image.GetDepth()):
            if k in skip:
                continue
            plane = image[:, :, k]
            position = image.TransformIndexToPhysicalPoint((0, 0, k))
            tags = {
                "0008|0060": "CT",
                "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
                "0008|0018": f"{number}.{k + 1}",
                "0020|000d": f"{number}.998",
                "0020|000e": f"{number}.999",
                "0020|0013": str(k + 1),
                "0020|0032": "\\".join(f"{v:.6f}" for v in position),
                "0020|0037": cosines,
                "0018|0050": f"{image.GetSpacing()[2]:.6f}",
            }
            for key, value in tags.items():
                plane.SetMetaData(key, value)
            writer.SetFileName(str(folder / f"slice{k:03d}.dcm"))
            with kept_locale():
                writer.Execute(plane)
        return folder

    return write


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As with OMP_NUM_THREADS=1: sums are added up in the same order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
