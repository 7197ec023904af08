"""Recorded breathing: the csv of PhysioNet's BIDMC and the text of BioSPPy."""

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from gormpo_density.errors import DataError
from gormpo_density.timeseries.readers.table import read_table
from gormpo_density.timeseries.series import Series, Values

_RATE_LINE = re.compile(r"#\s*Sampling Rate.*:=\s*([\d.]+)")


def load_respiration(path: str | Path, sample_rate: float = 10.0) -> Series:
    """Load a recording of breathing, at a rate that fits how slow breathing is.

    A breath takes seconds and a cough tenths of one, so that the 125 Hz and 1 kHz of the files
    hold little beyond 10 Hz. The recording is filtered against aliasing and resampled. Its first
    half trains, the second is judged; nothing is labelled (see
    `simulate.inject_respiratory_events`).

    Args:
        path: A csv file with columns `Time [s]` and `RESP` (BIDMC), or text with one value a
            line below a line `# Sampling Rate (Hz):= 1000` (BioSPPy).
        sample_rate: Rows a second of the result, at most that of the file.

    Raises:
        DataError: The file is absent or malformed, has gaps, or is sampled more slowly.

    Source:
        Pimentel et al. 2017, https://physionet.org/content/bidmc/; BioSPPy,
        https://github.com/scientisst/BioSPPy
    """
    path = Path(path)
    values, recorded_rate = _read_bidmc(path) if path.suffix == ".csv" else _read_biosppy(path)
    if not np.isfinite(values).all():
        raise DataError(f"{path}: row {int((~np.isfinite(values)).argmax())} is missing")
    if not 0 < sample_rate <= recorded_rate:
        raise DataError(f"{path}: cannot give {sample_rate} Hz, has {recorded_rate:g} Hz")
    ratio = Fraction(sample_rate / recorded_rate).limit_denominator(1000)
    values = resample_poly(values, ratio.numerator, ratio.denominator, padtype="line")
    half = len(values) // 2
    if not half:
        raise DataError(f"{path}: is too short, {len(values)} rows at {sample_rate} Hz")
    return Series(
        name=path.stem.lower(),
        values=np.asarray(values, dtype=np.float64)[:, None],
        channels=("respiration",),
        train=slice(0, half),
        test=(slice(half, len(values)),),
        timestamps=np.arange(len(values)) / sample_rate,
    )


def _read_bidmc(path: Path) -> tuple[Values, float]:
    table = read_table(path)
    seconds, values = table.times("Time [s]"), table.numbers("RESP")
    table.finish()
    step = np.median(np.diff(seconds)) if seconds.dtype.kind == "f" and len(table) > 1 else 0.0
    if not step > 0:
        raise DataError(f"{path}: column 'Time [s]' does not count seconds")
    return values, float(1 / step)


def _read_biosppy(path: Path) -> tuple[Values, float]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        values = np.array([float(line) for line in lines if line and not line.startswith("#")])
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    rates = [match[1] for line in lines if (match := _RATE_LINE.match(line))]
    if not rates or not len(values):
        raise DataError(f"{path}: needs a line '# Sampling Rate (Hz):= ...' and values below it")
    return values, float(rates[0])
