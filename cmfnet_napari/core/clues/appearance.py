"""How likely every voxel's look is that of each class, learnt from the strokes alone.

A random forest on intensity and edges of CT and MR at several scales. Voxel by voxel it is a poor
contour; as a cost in the race it keeps paths off tissue that does not look like their strokes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from skimage.feature import multiscale_basic_features

from cmfnet_napari.core.arrays import Reals, Wholes
from cmfnet_napari.core.strokes.scribbles import IGNORE

_TREES = 60
_LEAST_LEAF = 5  # voxels; strokes are lines of neighbours that look alike
_SIGMAS = (1, 4)  # finest and coarsest scale, voxels


def get_ready() -> None:
    """Import what looks are learnt with: it takes a second, which nobody should wait for."""
    import sklearn.ensemble  # noqa: F401


def appearance(images: Sequence[Reals], targets: Wholes, classes: int) -> Reals:
    """Probability of each class by look.

    Parameters
    ----------
    images : sequence of float arrays (z, y, x)
        CT and MR in [0, 1].
    targets : integer array (z, y, x)
        Segmentation codes at strokes, `IGNORE` elsewhere.
    classes : int
        Number of codes, background included.

    Returns
    -------
    float32 array (classes, z, y, x)
        Sums to 1; 0 for a class without a stroke.
    """
    return looks_from(look_features(images), targets, classes)


def looks_from(features: Reals, targets: Wholes, classes: int, trees: int = _TREES) -> Reals:
    """`appearance` from features that are at hand, with fewer trees where it has to be quick.

    Parameters
    ----------
    features : float32 array (z, y, x, features)
        `look_features`.
    targets, classes
        As in `appearance`.
    trees : int
        Of the forest.

    Returns
    -------
    float32 array (classes, z, y, x)
        As `appearance`.
    """
    from sklearn.ensemble import RandomForestClassifier

    drawn = targets != IGNORE
    forest = RandomForestClassifier(
        trees, class_weight="balanced", min_samples_leaf=_LEAST_LEAF, n_jobs=1, random_state=0
    ).fit(features[drawn], targets[drawn])
    found = forest.predict_proba(features.reshape(-1, features.shape[-1]))
    result = np.zeros((classes, *targets.shape), dtype=np.float32)
    result[forest.classes_] = found.T.reshape(-1, *targets.shape)
    return result


def look_features(images: Sequence[Reals]) -> Reals:
    """Intensity and gradient of every image at every scale, float32 (z, y, x, features)."""
    return np.concatenate([_features(image) for image in images], axis=-1)


def _features(image: Reals) -> Reals:
    """Of one image."""
    least, most = _SIGMAS
    features: Reals = multiscale_basic_features(
        image.astype(np.float32), texture=False, sigma_min=least, sigma_max=most, workers=1
    )
    return features
