"""The UCR anomaly archive (KDD 2021 competition): one anomaly a file, told by the file's name."""

import re
from pathlib import Path

import numpy as np

from gormpo_density.errors import DataError
from gormpo_density.timeseries.series import Series

_NAME = re.compile(r"(\d+)_UCR_Anomaly_(.+)_(\d+)_(\d+)_(\d+)")


def load_kdd21(path: str | Path) -> Series:
    """Load a series of the UCR anomaly archive.

    A file NNN_UCR_Anomaly_NAME_A_B_C.txt trains on its first A rows, and its one anomaly is in
    rows B to C, counted from 1, both included. All rows after the first A are judged.

    Args:
        path: Text with one number a line, or all of them on one line.

    Raises:
        DataError: The file is absent, its name does not say this, or it does not hold numbers.

    Source:
        Wu and Keogh 2021, https://arxiv.org/abs/2009.13807
    """
    path = Path(path)
    match = _NAME.fullmatch(path.stem)
    if match is None:
        raise DataError(f"{path}: the name must be NNN_UCR_Anomaly_NAME_TRAINEND_START_END.txt")
    train_end, start, stop = (int(number) for number in match.groups()[2:])
    try:
        values = np.array(path.read_text(encoding="utf-8").split(), dtype=np.float64)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    if not 0 < train_end < start <= stop <= len(values):
        raise DataError(f"{path}: its name does not fit its {len(values)} rows")
    labels = np.zeros(len(values), dtype=np.bool_)
    labels[start - 1 : stop] = True
    return Series(
        name=f"kdd21_{match[1]}_{match[2]}",
        values=values[:, None],
        channels=("value",),
        train=slice(0, train_end),
        test=(slice(train_end, len(values)),),
        labels=labels,
    )
