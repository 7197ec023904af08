"""Run a command over a grid: `python -m gormpo_density.sweep --program rl.train --set ...`."""

import argparse
import re
import shlex
import sys
from collections.abc import Sequence, Set
from pathlib import Path

import joblib
from filelock import FileLock, Timeout

from gormpo_density.cli import StrictParser, main_guard
from gormpo_density.errors import ConfigError, RunFolderError
from gormpo_density.report import format_value
from gormpo_density.sweep_best import best_result, check_selectable, link_best
from gormpo_density.sweep_grid import make_grid
from gormpo_density.sweep_jobs import Engine, Job, run_on_cores, run_on_ray
from gormpo_density.sweep_report import choose_metric, read_results, write_points, write_summary
from gormpo_density.sweep_run import Sweep, check, run, shares_stages, unfinished

_ENGINES: dict[str, Engine] = {"joblib": run_on_cores, "ray": run_on_ray}


@main_guard
def main(argv: Sequence[str] | None = None) -> None:
    """Make the runs that are not there yet; print and keep a table of all.

    Exits with 1 when a run failed; the same command then tries it again.
    """
    try:
        has_failed = _sweep(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    if has_failed:
        sys.exit(1)


def _sweep(words: Sequence[str]) -> bool:
    """Do what a command line says; tell whether a run failed."""
    args, sweep = _parse(words)
    configs = check(sweep, args.jobs or joblib.cpu_count())
    if args.dry_run:
        for point in sweep.points:
            for seed in sweep.seeds:
                print(shlex.join(["python", *sweep.job(point, seed).arguments]))
        return False
    sweep.folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(sweep.folder / ".sweep.lock", timeout=0):
            failed = _run(sweep, unfinished(sweep, configs), _ENGINES[args.engine], args.jobs)
            _report(sweep, failed, args, words)
    except Timeout:
        raise RunFolderError(f"{sweep.folder} is in use by another sweep") from None
    return bool(failed)


def _parse(words: Sequence[str]) -> tuple[argparse.Namespace, Sweep]:
    end = words.index("--") if "--" in words else len(words)
    args = _parser().parse(words[:end])
    if args.select is not None:
        check_selectable(args.select)
    if len(set(args.seeds)) < len(args.seeds):
        raise ConfigError(f"--seeds {' '.join(map(str, args.seeds))}: a seed is given twice")
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{args.program}-{Path(args.config or '').stem}")
    sweep = Sweep(
        program=args.program,
        config=args.config,
        points=make_grid(args.settings),
        seeds=args.seeds,
        flags=words[end + 1 :],
        folder=args.out or Path("runs") / f"sweep-{name.strip('-')}",
        shares_stages=shares_stages(args.program),
    )
    return args, sweep


def _parser() -> StrictParser:
    parser = StrictParser(
        "python -m gormpo_density.sweep",
        "Run a command over a grid of settings and seeds; flags after -- are the command's own.",
    )
    parser.add_argument("--program", required=True, metavar="MODULE", help="for example rl.train")
    parser.add_argument("--config", metavar="NAME|PATH", help="its configuration")
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="A.B=V,W",
        help="values to try; the grid is all combinations (repeatable)",
    )
    parser.add_argument("--seeds", nargs="+", type=int, required=True, metavar="N")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="default: runs/sweep-<program>-<config>"
    )
    parser.add_argument(
        "--jobs", type=_positive, metavar="N", help="runs at a time; default: one a core"
    )
    parser.add_argument("--engine", choices=_ENGINES, default="joblib")
    parser.add_argument("--metric", metavar="NAME", help="what the table shows")
    parser.add_argument(
        "--select",
        metavar="NAME",
        help="link the best run as DIR/best by this metric of validation rows, such as val_nll",
    )
    parser.add_argument("--dry-run", action="store_true", help="check and print the commands")
    return parser


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _run(sweep: Sweep, jobs: Sequence[Job], engine: Engine, n: int | None) -> set[str]:
    """Run the jobs; print how each ended; return the names of those that failed."""
    total = len(sweep.points) * len(sweep.seeds)
    if len(jobs) < total:
        print(f"finished already: {total - len(jobs)} of {total} runs")
    failed = set()
    for i, outcome in enumerate(run(sweep, jobs, engine, n), start=1):
        ending = "failed" if outcome.problem else "done"
        print(f"[{i}/{len(jobs)}] {outcome.name} {ending}", flush=True)
        if outcome.problem:
            failed.add(outcome.name)
            print(f"{outcome.name}: {outcome.problem}", file=sys.stderr)
    return failed


def _report(
    sweep: Sweep, failed: Set[str], args: argparse.Namespace, words: Sequence[str]
) -> None:
    results = read_results(sweep, failed)
    if all(result.metrics is None for result in results):
        return
    write_points(sweep, results)
    name = choose_metric(results, args.metric or args.select)
    command = shlex.join(["python", "-m", "gormpo_density.sweep", *words])
    print(f"\n{name}\n{write_summary(sweep, results, name, command)}\n")
    print(f"all runs: {sweep.folder / 'points.csv'}\nfigure:   {sweep.folder / 'summary.png'}")
    if args.select is not None:
        best = best_result(results, args.select)
        link = link_best(sweep, best)
        value = format_value(best.number(args.select))
        print(f"best:     {link} -> {best.point.run_name(best.seed)} ({args.select} {value})")


if __name__ == "__main__":
    sys.exit(main())
