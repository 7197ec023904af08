"""One door to every data set of detection: names of data made here, of files, and of one's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from gormpo_density.errors import ConfigError, DataError
from gormpo_density.registry import suggestion
from gormpo_density.schema import Section, validate
from gormpo_density.timeseries.readers.csv_series import CsvOptions, load_csv
from gormpo_density.timeseries.readers.ecg5000 import Protocol, load_ecg5000
from gormpo_density.timeseries.readers.folders import find_file
from gormpo_density.timeseries.readers.kdd21 import load_kdd21
from gormpo_density.timeseries.readers.nab import LIN_SERIES, LabelKind, load_nab
from gormpo_density.timeseries.readers.respiration import load_respiration
from gormpo_density.timeseries.readers.skab import load_skab
from gormpo_density.timeseries.series import Collection, Series
from gormpo_density.timeseries.simulate import (
    ECGConfig,
    PowerConverterConfig,
    RespirationConfig,
    RespiratoryEvents,
    inject_respiratory_events,
    simulate_ecg,
    simulate_power_converter,
    simulate_respiration,
)
from gormpo_density.timeseries.simulate.ranges import Positive

Loaded = Series | Collection


class NoOptions(Section):
    """A data set without a choice."""


class NabOptions(Section):
    """Attributes: labels: "windows" or "points", see `load_nab`."""

    labels: LabelKind = "windows"


class Ecg5000Options(Section):
    """Attributes: protocol: "A" or "B", see `load_ecg5000`."""

    protocol: Protocol = "A"


class RecordingOptions(Section):
    """Attributes: sample_rate: Of the result, Hz; events: What is injected, see `simulate`."""

    sample_rate: Positive = 10.0
    events: RespiratoryEvents = RespiratoryEvents()


@dataclass(frozen=True)
class Source:
    """Where a data set comes from.

    Attributes:
        description: One line for a list of what there is.
        options: What may be set about it.
        load: Loads it, given its name, the folder of files, its options and a seed.
        is_embedded: Whether it needs no files.
    """

    description: str
    options: type[Section]
    load: Callable[[str, Path | None, Any, int], Loaded]
    is_embedded: bool = False


def available_series() -> dict[str, str]:
    """Return every name `load_series` knows with a line on what it is; * stands for a part."""
    return {name: source.description for name, source in _SOURCES.items()}


def series_source(name: str) -> Source:
    """Return what is known about a name, for instance the options it takes.

    Raises:
        ConfigError: The name is unknown.
    """
    for pattern, source in _SOURCES.items():
        if fnmatchcase(name, pattern):
            return source
    raise ConfigError(f"data set {name!r} is unknown{suggestion(name, list(_SOURCES))}")


def load_series(
    name: str,
    data_dir: str | Path | None = None,
    *,
    options: Section | Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Series | Collection:
    """Load a data set of detection by name; see `available_series`.

    Args:
        name: "power_converter", "respiratory" and "ecg_beats" are made by the package;
            "nab_nyc_taxi" and so on need files; a path ending in .csv is a recording of one's
            own, "..._UCR_Anomaly_....txt" one of the UCR anomaly archive.
        data_dir: Folder that holds the files themselves, or a folder named after the data set
            (nab, ecg5000, ucr, skab, ucr_anomaly, resp) that does. A relative path of one's own
            is looked for as it stands, then there.
        options: What may be set about it, a section or the plain values of one, for instance
            {"severity": 0.5} for a simulation or {"train_end": 0.3} for a csv file.
        seed: Of what is made, drawn or injected; other files are read as they are.

    Raises:
        ConfigError: The name or an option is unknown, or out of range.
        DataError: A file is absent or malformed; what the folder holds is listed.
    """
    source = series_source(name)
    if not isinstance(options, source.options):
        options = validate(source.options, dict(options or {}), lambda _: name)
    return source.load(name, None if data_dir is None else Path(data_dir), options, seed)


def _nab(name: str, data_dir: Path | None, options: NabOptions, seed: int) -> Series:
    return load_nab(name.removeprefix("nab_"), data_dir, options.labels)


def _ecg5000(name: str, data_dir: Path | None, options: Ecg5000Options, seed: int) -> Collection:
    return load_ecg5000(data_dir, options.protocol, seed)


def _skab(name: str, data_dir: Path | None, options: NoOptions, seed: int) -> Series:
    stem = name.removeprefix("skab_")
    folder, _, number = stem.rpartition("_")
    if stem == "anomaly_free":
        folder, number = "anomaly-free", "anomaly-free"
    path = f"{folder or 'other'}/{number}.csv"
    patterns = [path, f"*/{path}", f"{number}.csv"]
    return load_skab(find_file(data_dir, "skab", patterns, path))


def _kdd21(name: str, data_dir: Path | None, options: NoOptions, seed: int) -> Series:
    number = name.removeprefix("kdd21_")
    pattern = f"{number}_UCR_Anomaly_*.txt"
    return load_kdd21(find_file(data_dir, "ucr_anomaly", [pattern], pattern))


def _kdd21_file(name: str, data_dir: Path | None, options: NoOptions, seed: int) -> Series:
    return load_kdd21(_own_file(name, data_dir))


def _recording(name: str, data_dir: Path | None, options: RecordingOptions, seed: int) -> Series:
    file = {"bidmc": "bidmc_01_Signals.csv", "biosppy": "biosppy_resp.txt"}[name]
    series = load_respiration(find_file(data_dir, "resp", [file], file), options.sample_rate)
    return inject_respiratory_events(series, options.events, seed)


def _csv(name: str, data_dir: Path | None, options: CsvOptions, seed: int) -> Series:
    return load_csv(_own_file(name, data_dir), **dict(options))


def _own_file(name: str, data_dir: Path | None) -> Path:
    path = Path(name)
    if path.exists() or data_dir is None:
        return path
    if not (data_dir / path).exists():
        raise DataError(f"{name}: no such file, neither here nor in {data_dir}")
    return data_dir / path


_SOURCES = {
    "power_converter": Source(
        "simulated: windows of voltage, current and temperature with three kinds of faults",
        PowerConverterConfig,
        lambda name, data_dir, options, seed: simulate_power_converter(options, seed),
        is_embedded=True,
    ),
    "respiratory": Source(
        "simulated: breathing with apnea, tachypnea, shallow breathing and cough",
        RespirationConfig,
        lambda name, data_dir, options, seed: simulate_respiration(options, seed),
        is_embedded=True,
    ),
    "ecg_beats": Source(
        "simulated: single heartbeats of a normal and four other kinds",
        ECGConfig,
        lambda name, data_dir, options, seed: simulate_ecg(options, seed),
        is_embedded=True,
    ),
    "*_UCR_Anomaly_*.txt": Source("a file of the UCR anomaly archive", NoOptions, _kdd21_file),
    "*.csv": Source("a recording of one's own", CsvOptions, _csv),
    "ecg5000": Source("UCR's heartbeats, class 1 is normal", Ecg5000Options, _ecg5000),
    **{
        f"nab_{name}": Source(f"NAB {file}, spans of Lin et al.", NabOptions, _nab)
        for name, (file, _) in LIN_SERIES.items()
    },
    "nab_*": Source("any csv file of NAB, without its ending", NabOptions, _nab),
    "skab_*": Source(
        "SKAB: skab_1 is other/1.csv, skab_valve1_0 is valve1/0.csv; skab_anomaly_free",
        NoOptions,
        _skab,
    ),
    "kdd21_*": Source("UCR anomaly archive, by number: kdd21_135", NoOptions, _kdd21),
    "bidmc": Source("breathing of BIDMC record 01, events injected", RecordingOptions, _recording),
    "biosppy": Source("breathing of BioSPPy, events injected", RecordingOptions, _recording),
}
