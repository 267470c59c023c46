"""A real sample patient, downloaded once from a public repository and kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pooch

from cmfnet_napari.core.errors import UserError

SOURCE = (
    "https://raw.githubusercontent.com/theibsi/data_sets/"
    "6da96021bc91faf4c0cb7fd7fa56a4225d2064a8/ibsi_validation/nifti/STS_042/"
)
CACHE_VARIABLE = "CMFNET_CACHE"
_HASHES = {
    "CT_image.nii.gz": "bd724dc37daaf201883b4f74dc9c4e940f0434a3cdaa76cbf34428f12b96cdb0",
    "MR_T1_image.nii.gz": "d68e78560a1c12f1dc5aac4cc2417f42bf3ccdf277fdba7e228f4a5804463c90",
    "CT_mask.nii.gz": "4ee16f8e7b6d8c931a7eb774cd994fbad64013dbe1b105bccaffcb9b9c05ae95",
}
LICENCE = "Creative Commons Attribution 3.0 Unported, https://creativecommons.org/licenses/by/3.0/"
CITATION = (
    "Vallières M, Freeman CR, Skamene SR, El Naqa I (2015). A radiomics model from joint FDG-PET "
    "and MRI texture features for the prediction of lung metastases in soft-tissue sarcomas of "
    "the extremities. The Cancer Imaging Archive, doi:10.7937/K9/TCIA.2015.7GO2GSKS. Cropped, "
    "MR corrected for its bias field and converted by Alex Zwanenburg for the Image Biomarker "
    "Standardisation Initiative, github.com/theibsi/data_sets."
)


@dataclass(frozen=True)
class SamplePatient:
    """Files of the real sample patient: soft-tissue sarcoma STS_042.

    Attributes
    ----------
    ct, mr, gtv : Path
        CT, T1 MR on a grid of its own, and the tumour contour as a mask on the CT's grid.
    licence, citation : str
        To be shown with the images.
    """

    ct: Path
    mr: Path
    gtv: Path
    licence: str = LICENCE
    citation: str = CITATION


def fetch_patient(folder: str | Path | None = None, base_url: str = SOURCE) -> SamplePatient:
    """Download the sample patient (5 MB), or use the files of an earlier download.

    Parameters
    ----------
    folder : path, optional
        Where the files are kept; default is the variable ``CMFNET_CACHE``, else the user's
        cache folder.
    base_url : str
        Where they come from, with a slash at the end. Hashes are checked whatever it is.

    Raises
    ------
    UserError
        No network, a file that is not the published one, or a folder that cannot be written.
    """
    store = pooch.create(
        path=folder or pooch.os_cache("cmfnet-napari"),
        base_url=base_url,
        registry={name: f"sha256:{digest}" for name, digest in _HASHES.items()},
        env=None if folder else CACHE_VARIABLE,
    )
    log = pooch.get_logger()
    level = log.level
    log.setLevel("WARNING")  # its lines name folders of the user
    try:
        ct, mr, gtv = (Path(store.fetch(name)) for name in _HASHES)
    except ValueError as error:  # pooch: the hash differs
        raise UserError(
            "The sample patient's download is not the published file; nothing was kept. Try "
            "again later."
        ) from error
    except OSError as error:  # requests' errors are OSErrors too
        raise UserError(_why_not(error, Path(store.path))) from error
    finally:
        log.setLevel(level)
    return SamplePatient(ct, mr, gtv)


def _why_not(error: OSError, folder: Path) -> str:
    if error.filename is not None or isinstance(error, PermissionError):
        return f"The sample patient cannot be kept in {folder} ({error.strerror})."
    answer = getattr(error, "response", None)
    if answer is not None:
        return f"The sample patient cannot be downloaded: the server answered {answer.status_code}."
    return (
        "The sample patient cannot be downloaded: there is no connection to github.com. Connect "
        "to the network and try again, or use the built-in synthetic patient."
    )
