"""The Numenta Anomaly Benchmark: univariate series in csv, labelled by windows in json."""

import json
from pathlib import Path
from typing import Literal

import numpy as np

from gormpo_density.errors import DataError
from gormpo_density.timeseries.readers.folders import find_file
from gormpo_density.timeseries.readers.table import Date, Table, parse_date, read_table
from gormpo_density.timeseries.series import Labels, Series, Times

LabelKind = Literal["windows", "points"]

LIN_SERIES = {
    "ambient_temperature": ("ambient_temperature_system_failure", slice(0, 3300)),
    "cpu_asg": ("cpu_utilization_asg_misconfiguration", slice(0, 15500)),
    "ec2_request": ("ec2_request_latency_system_failure", slice(0, 2000)),
    "machine_temperature": ("machine_temperature_system_failure", slice(5000, 15500)),
    "nyc_taxi": ("nyc_taxi", slice(0, 5500)),
}
"""The five series of Lin et al. 2020 (VAE-LSTM), with the rows they train on."""

_LIN_SPANS = dict(LIN_SERIES.values())
_LABEL_FILES = {"windows": "combined_windows.json", "points": "combined_labels.json"}


def load_nab(name: str, data_dir: str | Path | None, labels: LabelKind = "windows") -> Series:
    """Load a series of NAB.

    The five of `LIN_SERIES` train on the rows their authors chose. Any other trains on the rows
    before its first labelled window, at most on the first half. All other rows are judged; what
    lies before and after the training rows are two spans.

    Where a clock was set back or stood still (machine_temperature has one such step, ec2_request
    eleven), the rows keep their order and get evenly spaced times, at the median step from the
    first; labels are found by the recorded times before that.

    Args:
        name: One of `LIN_SERIES`, or the name of any csv file without its ending.
        data_dir: Holds NAB's folders `data` and `labels`, or a folder `nab` that does.
        labels: "windows" labels every row of NAB's windows around the anomalies, "points" only
            the rows whose times are given as the anomalies.

    Raises:
        DataError: A file is absent or malformed, the series is not in the label file, or it
            starts with an anomaly, so that nothing is left to learn from.

    Source:
        Lavin and Ahmad 2015, https://arxiv.org/abs/1510.03336; spans: Lin et al. 2020, ICASSP,
        "Anomaly detection for time series using VAE-LSTM hybrid model", the authors' code.
    """
    file_name = LIN_SERIES[name][0] if name in LIN_SERIES else name
    csv_name = f"{file_name}.csv"
    path = _find(data_dir, "data/*", csv_name)
    label_path = _find(data_dir, "labels", _LABEL_FILES[labels])
    table = read_table(path)
    values, times = table.numbers("value"), table.times("timestamp")
    _check_dates(table, times)
    table.finish()
    spans = _label_spans(label_path, csv_name)
    is_anomaly = np.zeros(len(values), dtype=np.bool_)
    for start, stop in spans:
        is_anomaly |= (times >= start) & (times <= stop)
    train = _LIN_SPANS.get(file_name) or _default_train(is_anomaly, path)
    if train.stop >= len(values):
        raise DataError(f"{path}: {len(values)} rows, but the first {train.stop} are to train on")
    return Series(
        name=f"nab_{name}",
        values=values[:, None],
        channels=("value",),
        train=train,
        test=_rest(train, len(values)),
        timestamps=_increasing(times),
        labels=is_anomaly,
    )


def _find(data_dir: str | Path | None, folder: str, name: str) -> Path:
    return find_file(data_dir, "nab", [f"{folder}/{name}", f"*/{name}", name], name)


def _check_dates(table: Table, times: Times) -> None:
    if times.dtype.kind != "M":
        table.problems.append("column 'timestamp' holds numbers, not times")


def _label_spans(path: Path, csv_name: str) -> list[tuple[Date, Date]]:
    """Return first and last time of every anomaly of a series."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        keys = [key for key in entries if key.rsplit("/", 1)[-1] == csv_name]
        if not keys:
            raise DataError(f"{path}: says nothing about {csv_name}")
        pairs = [(at, at) if isinstance(at, str) else at for at in entries[keys[0]]]
        return [(parse_date(start), parse_date(stop)) for start, stop in pairs]
    except DataError:
        raise
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is not a label file of NAB ({error})") from None


def _default_train(is_anomaly: Labels, path: Path) -> slice:
    half = len(is_anomaly) // 2
    first = int(is_anomaly.argmax()) if is_anomaly.any() else half
    if not min(first, half):
        raise DataError(f"{path}: no rows before the first anomaly, so nothing to learn from")
    return slice(0, min(first, half))


def _rest(train: slice, rows: int) -> tuple[slice, ...]:
    around = (slice(0, train.start), slice(train.stop, rows))
    return tuple(span for span in around if span.start < span.stop)


def _increasing(times: Times) -> Times:
    steps = np.diff(times)
    if (steps > np.timedelta64(0)).all():
        return times
    return np.asarray(times[0] + np.arange(len(times)) * np.median(steps))
