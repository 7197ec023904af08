"""The runs of a sweep as processes, in parallel over the cores of a machine or over machines."""

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import joblib

from gormpo_density.errors import ConfigError
from gormpo_density.processes import Processes

T = TypeVar("T")
R = TypeVar("R")

_RETRIES = 3  # of a run whose Ray worker died


@dataclass(frozen=True)
class Job:
    """A program to be run.

    Attributes:
        name: Short and unique in the sweep.
        arguments: What follows the Python interpreter.
        logs: Folder that gets NAME.out and NAME.err, what the program prints.
    """

    name: str
    arguments: tuple[str, ...]
    logs: Path


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        name: That of the job.
        problem: One line on what went wrong; empty if nothing did.
    """

    name: str
    problem: str = ""


Engine = Callable[[Sequence[Job], int | None], Iterator[Outcome]]


def run_job(processes: Processes, job: Job) -> Outcome:
    """Run one job to its end."""
    job.logs.mkdir(parents=True, exist_ok=True)
    errors = job.logs / f"{job.name}.err"
    with (job.logs / f"{job.name}.out").open("wb") as out, errors.open("wb") as err:
        code = processes.run(job.arguments, out, err)
    text = errors.read_text(encoding="utf-8", errors="replace")
    return Outcome(job.name, "; ".join(complaints(code, text)))


def complaints(code: int, stderr: str) -> list[str]:
    """Return why a program failed, one line for each problem; nothing if it did not.

    Args:
        code: Its exit code, -N for signal N.
        stderr: What it wrote there.
    """
    if code == 0:
        return []
    if code < 0:
        return [f"killed by signal {-code} ({signal.strsignal(-code)})"]
    lines = [line for line in stderr.splitlines() if line[:1].strip()]  # a traceback is indented
    told = [line for line in lines if not line.lower().startswith("warning")]
    return (told if code == 2 else told[-1:]) or [f"exit code {code}"]


def in_threads(task: Callable[[Processes, T], R], items: Sequence[T], n: int) -> Iterator[R]:
    """Yield task(processes, item) of all items, n at a time, in the order in which they end.

    Whatever ends the iteration also ends the programs that tasks have started.
    """
    parallel = joblib.Parallel(
        n, backend="threading", batch_size=1, return_as="generator_unordered"
    )
    with Processes() as processes:
        yield from parallel(joblib.delayed(partial(task, processes))(item) for item in items)


def run_on_cores(jobs: Sequence[Job], n: int | None) -> Iterator[Outcome]:
    """Run jobs on this machine, n at a time (None: one a core); yield each outcome as it comes."""
    yield from in_threads(run_job, jobs, n or joblib.cpu_count())


def run_on_ray(jobs: Sequence[Job], n: int | None) -> Iterator[Outcome]:
    """Run jobs on the workers of Ray, one core each; yield each outcome as it comes.

    The cluster is the one that RAY_ADDRESS names or `ray start` began on this machine; without
    one, n local workers (None: one a core) are started. All machines must share the file system.
    A job whose worker dies is run again.

    Raises:
        ConfigError: Ray is not installed.
    """
    try:
        import ray
    except ImportError:
        raise ConfigError(
            "--engine ray needs Ray, which is not installed: pip install 'gormpo-density[ray]'"
        ) from None
    try:
        _connect(ray, n)
        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_run_on_worker)
        pending = {task.remote(job, Path.cwd()): job for job in jobs}
        while pending:
            [done], _ = ray.wait(list(pending))
            job = pending.pop(done)
            try:
                yield ray.get(done)
            except ray.exceptions.RayError as error:
                yield Outcome(job.name, f"lost by Ray: {str(error).splitlines()[0]}")
    finally:
        ray.shutdown()


def _connect(ray: ModuleType, n: int | None) -> None:
    """Join the cluster that is there, or start one on this machine."""
    settings = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        ray.init(address="auto", **settings)
    except ConnectionError:
        ray.init(address="local", num_cpus=n, include_dashboard=False, **settings)


def _run_on_worker(job: Job, folder: Path) -> Outcome:
    """Run one job from the folder that the sweep was called in."""
    os.chdir(folder)
    with Processes() as processes:
        return run_job(processes, job)
