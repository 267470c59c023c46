"""Which weighting an MR has, as far as its header tells; nothing else of the header is kept."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

_CONTRASTS = {  # Acquisition Contrast (PS3.3 C.8.13.3.1.1), and words of descriptions
    "T1": r"T1",
    "T2*": r"T2_?STAR|T2\*",
    "FLAIR": r"FLUID_ATTENUATED|FLAIR",
    "STIR": r"STIR|TIRM",
    "DWI": r"DIFFUSION|DWI|ADC|DTI",
    "T2": r"T2",
    "PD": r"PROTON_DENSITY|PD",
}
_FAT_SATURATED = r"FAT[ _-]?SAT\w*|FATSUPP\w*|FS|SPAIR|SPIR"
_SHORT_TR, _SHORT_TE, _LONG_TE = 1000.0, 30.0, 60.0  # ms, of spin echo


def mr_weighting(header: Dataset) -> str:
    """Weighting of an MR: ``T1``, ``T2``, ``T2*``, ``PD``, ``FLAIR``, ``STIR`` or ``DWI``.

    Fat saturation is said behind it, as in ``T1 fat-saturated``. Acquisition Contrast counts first,
    then the series' description, then the times of a spin echo; empty where none tells.
    """
    words = str(header.get("SeriesDescription") or "").upper()
    found = _named(str(header.get("AcquisitionContrast") or "").upper()) or _named(words)
    found = found or _by_times(header)
    options = str(header.get("ScanOptions") or "").upper()
    saturated = found in ("T1", "T2", "PD") and any(
        re.search(_alone(_FAT_SATURATED), text) for text in (words, options)
    )
    return f"{found} fat-saturated" if saturated else found


def _named(text: str) -> str:
    return next((name for name, words in _CONTRASTS.items() if re.search(_alone(words), text)), "")


def _alone(words: str) -> str:
    """Words with neither letter nor digit beside them; W and FS may follow, as in T1w."""
    return rf"(?<![A-Z0-9])(?:{words})(?=W|FS|[^A-Z0-9]|$)"


def _by_times(header: Dataset) -> str:
    if "SE" not in str(header.get("ScanningSequence") or "").upper():
        return ""
    try:
        repetition, echo = float(header.RepetitionTime), float(header.EchoTime)
    except (AttributeError, TypeError, ValueError):
        return ""
    if 0 < repetition < _SHORT_TR and 0 < echo < _SHORT_TE:
        return "T1"
    return "T2" if echo > _LONG_TE else ""
