"""ECG5000 as anomaly detection: heartbeats, one class of which is normal."""

from pathlib import Path
from typing import Literal

import numpy as np

from gormpo_density.errors import DataError
from gormpo_density.timeseries.readers.ucr import load_ucr
from gormpo_density.timeseries.series import NORMAL, Collection

Protocol = Literal["A", "B"]

_CLASSES = {
    "1": NORMAL,
    "2": "r_on_t",  # an early ventricular beat on the T wave of the one before
    "3": "ventricular",
    "4": "supraventricular",
    "5": "unclassified",
}
_TRAIN_SHARE = 0.8


def load_ecg5000(
    data_dir: str | Path | None, protocol: Protocol = "A", seed: int = 0
) -> Collection:
    """Load the 5000 heartbeats of ECG5000, 140 steps each; class 1 is normal.

    Protocol A, the archive's split: the 292 normal beats of TRAIN train, all 4500 of TEST are
    judged. Protocol B, that of autoencoder papers: 80 % of all normal beats (2335) train, chosen
    by `seed`; all other beats (2665) are judged.

    Args:
        data_dir: Holds ECG5000_TRAIN and ECG5000_TEST in any format of the archive, or a folder
            `ECG5000`, `ecg5000` or `ucr` that does.
        protocol: "A" or "B".
        seed: Chooses the beats of protocol B.

    Raises:
        DataError: A file is absent or malformed, or does not hold the five classes.

    Source:
        Chen et al. 2015, A general framework for never-ending learning from time series streams;
        the UCR archive, https://arxiv.org/abs/1810.07758
    """
    ucr = load_ucr("ECG5000", data_dir)
    if unknown := set(ucr.classes) - set(_CLASSES):
        raise DataError(f"ECG5000 has classes 1 to 5, but the files hold {sorted(unknown)}")
    values = np.concatenate([ucr.train_x, ucr.test_x])
    names = np.array([_CLASSES[label] for label in ucr.classes])
    classes = names[np.concatenate([ucr.train_y, ucr.test_y])]
    is_normal = classes == NORMAL
    n_train = len(ucr.train_x)
    if protocol == "A":
        train, test = np.flatnonzero(is_normal[:n_train]), np.arange(n_train, len(values))
    else:
        normals = np.random.default_rng(seed).permutation(np.flatnonzero(is_normal))
        train = np.sort(normals[: int(_TRAIN_SHARE * len(normals))])
        test = np.setdiff1d(np.arange(len(values)), train)
    return Collection(
        name=f"ecg5000_{protocol.lower()}",
        values=values,
        channels=("ecg",),
        train=train,
        test=test,
        labels=~is_normal,
        classes=classes,
    )
