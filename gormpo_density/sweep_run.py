"""A sweep: a program run at every point of a grid under every seed, in one folder.

<point>-seed<S>/   the run folders
logs/              what the programs print
stages/            what runs share, for programs that share stages
points.csv, summary.md, summary.png   see `sweep_report`
"""

import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gormpo_density.config_files import parse_yaml, read_config
from gormpo_density.errors import ConfigError
from gormpo_density.processes import Processes
from gormpo_density.sweep_grid import GridPoint
from gormpo_density.sweep_jobs import Engine, Job, Outcome, complaints, in_threads


@dataclass(frozen=True)
class Sweep:
    """What to run, and where.

    Attributes:
        program: Module of the command, started as `python -m PROGRAM`.
        config: Name or path of its configuration, if any.
        points: The grid.
        seeds: Seeds of every point.
        flags: Further flags of the program, for all runs.
        folder: Where everything goes.
        shares_stages: Whether the program has a flag --stages DIR.
    """

    program: str
    config: str | None
    points: Sequence[GridPoint]
    seeds: Sequence[int]
    flags: Sequence[str]
    folder: Path
    shares_stages: bool

    def run_folder(self, point: GridPoint, seed: int) -> Path:
        """Return the folder of one run."""
        return self.folder / point.run_name(seed)

    def arguments(self, point: GridPoint, seed: int) -> list[str]:
        """Return the command line of one run, without the Python interpreter."""
        config = [] if self.config is None else ["--config", self.config]
        overrides = [word for setting in point.overrides for word in ("--set", setting)]
        stages = ["--stages", str(self.folder / "stages")] if self.shares_stages else []
        place = ["--seed", str(seed), "--run-dir", str(self.run_folder(point, seed))]
        return ["-m", self.program, *config, *overrides, *self.flags, *stages, *place, "--quiet"]

    def job(self, point: GridPoint, seed: int) -> Job:
        """Return one run as a job; it goes on with what a killed one left."""
        arguments = (*self.arguments(point, seed), "--resume")
        return Job(point.run_name(seed), arguments, self.folder / "logs")


def shares_stages(program: str) -> bool:
    """Tell whether a program has a flag --stages, from the help that it prints.

    Raises:
        ConfigError: It cannot be started.
    """
    with Processes() as processes:
        code, text, errors = _capture(processes, ["-m", program, "--help"])
    if problems := complaints(code, errors):
        problem = problems[-1].removeprefix(f"{sys.executable}: ")
        raise ConfigError(f"--program {program}: {problem}")
    return re.search(r"(?<![\w-])--stages(?![\w-])", text) is not None


def check(sweep: Sweep, n: int) -> list[Any]:
    """Have the program check every point, by a dry run under the first seed.

    Args:
        sweep: What to check.
        n: Dry runs at a time.

    Returns:
        The resolved configuration of each point; None where the program prints no such thing.

    Raises:
        ConfigError: Every problem of every point, each once.
    """

    def dry_run(processes: Processes, place: int) -> tuple[int, Any, list[str]]:
        arguments = sweep.arguments(sweep.points[place], sweep.seeds[0])
        code, text, errors = _capture(processes, [*arguments, "--dry-run"])
        return place, _parse(text), complaints(code, errors)

    results = sorted(in_threads(dry_run, range(len(sweep.points)), n), key=lambda r: r[0])
    if problems := list(dict.fromkeys(line for _, _, lines in results for line in lines)):
        raise ConfigError(problems)
    return [config for _, config, _ in results]


def unfinished(sweep: Sweep, configs: Sequence[Any]) -> list[Job]:
    """Return the jobs that are left to do; where in doubt, the program itself finds out.

    Args:
        sweep: All of it.
        configs: Resolved configuration of each point, as `check` returns them.
    """
    return [
        sweep.job(point, seed)
        for point, config in zip(sweep.points, configs, strict=True)
        for seed in sweep.seeds
        if not _is_finished(sweep.run_folder(point, seed), config, seed)
    ]


def run(sweep: Sweep, jobs: Sequence[Job], engine: Engine, n: int | None) -> Iterator[Outcome]:
    """Run jobs of a sweep, if any, and yield each one's outcome as it comes."""
    for outcome in engine(jobs, n) if jobs else ():
        metrics = sweep.folder / outcome.name / "metrics.json"
        if not outcome.problem and not metrics.is_file():
            outcome = Outcome(outcome.name, f"{sweep.program} ended without writing {metrics}")
        yield outcome


def _is_finished(folder: Path, config: Any, seed: int) -> bool:
    if not ((folder / "metrics.json").is_file() and (folder / "config.yaml").is_file()):
        return False
    return isinstance(config, dict) and read_config(folder / "config.yaml") == config | {
        "seed": seed
    }


def _capture(processes: Processes, arguments: Sequence[str]) -> tuple[int, str, str]:
    """Run a program; return its exit code and what it printed to stdout and stderr."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        code = processes.run(arguments, out, err)
        return code, _read(out), _read(err)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _parse(text: str) -> Any:
    try:
        return parse_yaml(text, "dry run")
    except ConfigError:
        return None
