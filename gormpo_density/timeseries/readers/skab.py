"""The Skoltech Anomaly Benchmark: sensors of a water loop, one experiment a file."""

from pathlib import Path

import numpy as np

from gormpo_density.errors import DataError
from gormpo_density.timeseries.readers.table import read_table
from gormpo_density.timeseries.series import Series

_NOT_VALUES = ("datetime", "anomaly", "changepoint")


def load_skab(path: str | Path, train_rows: int = 400) -> Series:
    """Load one experiment of SKAB.

    The first rows train and all later ones are judged, as in SKAB's own notebooks. In one of
    its files (other/2) the anomaly begins within them, at row 104: `Series.train_values` blanks
    the rows labelled so. The file without a column `anomaly` is free of anomalies.

    Args:
        path: A csv file with `;` between cells: `datetime`, eight sensors, `anomaly`,
            `changepoint`.
        train_rows: How many rows train.

    Raises:
        DataError: The file is absent or malformed, or has no more rows than that.

    Source:
        Katser and Kozitsin 2020, https://www.kaggle.com/dsv/1693952
    """
    path = Path(path)
    table = read_table(path, delimiter=";")
    times = table.times("datetime")
    channels = tuple(name for name in table.columns if name not in _NOT_VALUES)
    if not channels:
        table.problems.append("has no columns of sensors")
    columns = [table.numbers(name) for name in channels]
    labels = np.zeros(len(table), dtype=np.bool_)
    if "anomaly" in table.columns:
        labels = table.flags("anomaly")
    table.finish()
    if not 0 < train_rows < len(table):
        raise DataError(f"{path}: {len(table)} rows, but {train_rows} are to train on")
    return Series(
        name=f"skab_{path.stem}",
        values=np.column_stack(columns),
        channels=channels,
        train=slice(0, train_rows),
        test=(slice(train_rows, len(table)),),
        timestamps=times,
        labels=labels,
    )
