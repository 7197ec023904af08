"""The folder a run leaves behind; a killed run goes on in it, another run is kept out of it.

config.yaml   the resolved configuration, written first
versions.json versions of Python and the packages
checkpoints/  what a killed run goes on from
model/        what `load_model` reads
history.csv   one line an epoch
plots/        figures
report.html   everything on one page
metrics.json  the results, written last: a folder that has them is finished
"""

import csv
import json
import logging
import math
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar

from gormpo_density.atomic import replacing
from gormpo_density.config_files import parse_yaml, read_config
from gormpo_density.errors import RunFolderError

logger = logging.getLogger(__name__)

_LOCK = ".gormpo_density.lock"
_PACKAGES = (
    "gormpo-density",
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "gymnasium",
    "mujoco",
    "minari",
    "pydantic",
    "safetensors",
)


def default_run_path(task: str, name: str, seed: int) -> Path:
    """Return runs/<task>-<name>-seed<seed>, with anything odd in the names made a dash."""
    return Path("runs") / re.sub(r"[^A-Za-z0-9._-]+", "-", f"{task}-{name}-seed{seed}")


class RunFolder:
    """A run folder, held by one process at a time; see `open`.

    Attributes:
        path: The folder.
        is_resumed: It holds an unfinished run with the same configuration, to be gone on with.
        is_finished: It holds a finished run with the same configuration; nothing is to be done.
        history: history.csv.
    """

    #: What a run writes and --overwrite removes; a command with more of it extends this.
    contents: ClassVar[tuple[str, ...]] = (
        "metrics.json",
        "report.html",
        "checkpoints",
        "model",
        "plots",
        "history.csv",
        "versions.json",
        "config.yaml",
    )

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self.is_resumed = False
        self.is_finished = False
        self.history = HistoryFile(path / "history.csv")
        self._lock = lock

    @classmethod
    def open(
        cls, path: str | Path, config_text: str, *, resume: bool = False, overwrite: bool = False
    ) -> "RunFolder":
        """Take a folder for a run, or find the same run in it.

        Args:
            path: The folder; made if it is not there.
            config_text: The resolved configuration in YAML.
            resume: Go on with an unfinished run of the same configuration, or start one.
            overwrite: Remove what another run left; other files in the folder are kept. A run
                that left nothing but its configuration is always replaced.

        Raises:
            RunFolderError: The folder is not a run folder, is in use by another process, or holds
                a run of another configuration (keys named) or an unfinished one, and neither
                resume nor overwrite says what to do.
        """
        path = Path(path)
        _require_run_folder(path)
        path.mkdir(parents=True, exist_ok=True)
        folder = cls(path, _lock(path / _LOCK))
        try:
            folder._prepare(config_text, resume, overwrite)
        except BaseException:
            folder.close()
            raise
        return folder

    def _prepare(self, config_text: str, resume: bool, overwrite: bool) -> None:
        if overwrite:
            self._clear()
        config = self.path / "config.yaml"
        if not config.is_file() or not self._has_begun:
            self.write_text("config.yaml", config_text)
            self.write_json("versions.json", package_versions())
            return
        if changes := list(_changes(config, config_text)):
            raise RunFolderError(
                f"{self.path} holds a run of another configuration ({'; '.join(changes)}); "
                "--overwrite replaces it, --run-dir DIR leaves it alone"
            )
        self.is_finished = (self.path / "metrics.json").is_file()
        if self.is_finished:
            return
        if not resume:
            raise RunFolderError(
                f"{self.path} holds an unfinished run; --resume goes on with it, "
                "--overwrite starts again"
            )
        self.is_resumed = True
        self._check_versions()

    @property
    def _has_begun(self) -> bool:
        """Whether there is anything to lose; bad data ends a run before there is."""
        begun = [name for name in self.contents if name not in ("config.yaml", "versions.json")]
        return any((self.path / name).exists() for name in begun)

    def _clear(self) -> None:
        for name in self.contents:
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _check_versions(self) -> None:
        path = self.path / "versions.json"
        if not path.is_file():  # killed between the first two files
            self.write_json("versions.json", package_versions())
            return
        before, now = json.loads(path.read_text()), package_versions()
        changed = [f"{k} {v} -> {now.get(k)}" for k, v in before.items() if now.get(k) != v]
        if changed:
            logger.warning("resumed with other versions, numbers may differ: %s", changed)

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the folder atomically, in UTF-8."""
        with replacing(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """Write a JSON file of the folder atomically; NaN and infinities become null."""
        self.write_text(name, json.dumps(_plain(values), indent=2, allow_nan=False) + "\n")

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Write metrics.json, the last thing a run does."""
        self.write_json("metrics.json", metrics)

    def close(self) -> None:
        """Let other processes use the folder."""
        self._lock.close()

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class HistoryFile:
    """A CSV file with one line an epoch, whole after kill -9 and without repeats after a resume.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._next_epoch: int | None = None

    def append(self, epoch: int, row: Mapping[str, float]) -> None:
        """Add the line of an epoch; the file's lines of this epoch and later ones are dropped.

        Args:
            epoch: Larger than those to be kept.
            row: Values by column, the same columns in every epoch.
        """
        if epoch != self._next_epoch:
            self._rewind(epoch, ["epoch", *row])
        with self.path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow([epoch, *row.values()])
            file.flush()
            os.fsync(file.fileno())
        self._next_epoch = epoch + 1

    def _rewind(self, epoch: int, columns: list[str]) -> None:
        """Drop what a killed run wrote after its last checkpoint, and a half written line."""
        kept = [line for line in self._lines()[1:] if int(line.partition(",")[0]) < epoch]
        with replacing(self.path) as temporary:
            temporary.write_text("".join([",".join(columns) + "\n", *kept]))

    def read(self) -> dict[str, list[float]]:
        """Return the columns by name; empty when there is no file."""
        if not (lines := self._lines()):
            return {}
        header, *rows = csv.reader(lines)
        return {name: [float(row[i]) for row in rows] for i, name in enumerate(header)}

    def _lines(self) -> list[str]:
        if not self.path.is_file():
            return []
        lines = self.path.read_text().splitlines(keepends=True)
        return [line for line in lines if line.endswith("\n")]  # the last may be cut short


def package_versions() -> dict[str, str]:
    """Return the versions of Python, the system and the packages that decide the numbers."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _require_run_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise RunFolderError(f"{path} is a file; --run-dir must name a folder")
    if path.is_dir() and not (path / _LOCK).is_file() and any(path.iterdir()):
        raise RunFolderError(f"{path} has files in it and is not a run folder; choose another")


def _lock(path: Path) -> IO[str]:
    """Open a lock file that the system lets go of when the process ends, however it ends."""
    file = path.open("a")
    if sys.platform != "win32":  # Windows has no flock; two runs must be kept apart by hand
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise RunFolderError(f"{path.parent} is in use by another process") from None
    return file


def _changes(old: Path, new_text: str) -> Iterator[str]:
    """Yield each key whose value differs between a file and a text."""
    before = dict(_leaves(read_config(old)))
    after = dict(_leaves(parse_yaml(new_text, "the new configuration")))
    for key in sorted(before.keys() | after.keys()):
        there, now = (json.dumps(v[key]) if key in v else "absent" for v in (before, after))
        if there != now:
            yield f"{key}: {there} there, {now} now"


def _leaves(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from _leaves(value, f"{path}.{key}".lstrip("."))
    else:
        yield path, values


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: scalars of numpy and torch as numbers, NaN as null."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
