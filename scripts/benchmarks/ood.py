"""Parts "ood" and "ood_slow": telling MuJoCo transitions from shifted, permuted or foreign ones.

Rows are [observation, action]. Of the episodes, permuted by the split's seed, 80 % train (at most
40,000 rows), 10 % stop the training, 10 % are the test (at most 5,000 rows each). Each
out-of-distribution set has 3,000 rows: the first test rows moved by some standard deviations up or
down, with other rows' or uniform actions, or rows of another data set.
"""

from collections.abc import Callable, Mapping
from statistics import fmean, median

from benchmarks.cells import Bench
from benchmarks.datasets import episode_split, load_mujoco, ood_levels
from benchmarks.ood_cells import (
    DEFAULT,
    QUICK,
    SUBJECTS,
    Measured,
    Scale,
    Subject,
    Task,
    difference,
    measure,
    scorers,
    slow_scorers,
)
from benchmarks.scorers import Scorer
from benchmarks.tables import show, table
from gormpo_density.aggregate import mean_interval
from gormpo_density.metrics import Interval

#: Where good scorers differ: on the other one they all reach 99 %.
HARDER = "hopper_medium"
#: What was measured of each scorer, by split.
Found = dict[str, list[Measured]]


def report(bench: Bench) -> str:
    """Measure what is missing and return the tables."""
    return _report(bench, SUBJECTS, scorers)


def slow(bench: Bench) -> str:
    """Return the tables of CNF and diffusion beside the default flow, on the harder data set."""
    return _report(bench, {HARDER: SUBJECTS[HARDER]}, slow_scorers)


def _report(
    bench: Bench,
    subjects: Mapping[str, Subject],
    scorers_of: Callable[[Subject, Scale], list[Scorer]],
) -> str:
    scale = QUICK if bench.quick else Scale()
    parts = []
    for name, subject in subjects.items():
        tasks = _tasks(bench, name, subject, scale)
        found: Found = {}
        for task in tasks:
            for scorer in scorers_of(subject, scale):
                for key, measured in measure(bench, task, scorer).items():
                    found.setdefault(key, []).append(measured)
        summary = _summary(found, _differences(found, tasks, scale), subject)
        parts.append(f"## {name}\n\n{summary}\n\n{_table_of_levels(found, subject)}")
    return "\n\n".join(parts)


def _tasks(bench: Bench, name: str, subject: Subject, scale: Scale) -> list[Task]:
    data = load_mujoco(bench.data_dir, name)
    others = {other.split("_")[1]: load_mujoco(bench.data_dir, other) for other in subject.others}
    tasks = []
    for seed in scale.seeds:
        split = episode_split(data, seed, scale.max_train, scale.max_held_out)
        levels = ood_levels(split, data.obs.shape[1], others, scale.level_rows)
        tasks.append(Task(name, seed, split, levels))
    return tasks


def _differences(found: Found, tasks: list[Task], scale: Scale) -> dict[str, list[Interval]]:
    """Return our default minus each other scorer, by split."""
    return {
        name: [
            difference(ours, other, task, scale.resamples)
            for ours, other, task in zip(found[DEFAULT], others, tasks, strict=True)
        ]
        for name, others in found.items()
        if name != DEFAULT
    }


def _summary(found: Found, differences: dict[str, list[Interval]], subject: Subject) -> str:
    means = {name: [fmean(m.aurocs.values()) for m in ones] for name, ones in found.items()}
    n_splits, n_levels = len(means[DEFAULT]), len(found[DEFAULT][0].levels)
    rows = []
    for name in sorted(found, key=lambda n: -fmean(means[n])):
        fit_seconds = f"{median(m.fit_seconds for m in found[name]):.0f}"
        us = f"{median(m.us_per_row for m in found[name]):.1f}"
        minus = [""] * (1 + n_splits)
        if name in differences:
            ends = zip(*differences[name], strict=True)
            averaged = Interval(*(fmean(values) for values in ends))
            minus = [show(interval, 2, 100) for interval in (averaged, *differences[name])]
        rows.append([name, show(mean_interval(means[name]), 1, 100), fit_seconds, us, *minus])
    for name, mean in subject.anchors.items():
        rows.append([f"(earlier) {name}", f"{mean:.1f}", *[""] * (3 + n_splits)])
    title = (
        f"AUROC x100, mean over {n_levels} sets: its mean over {n_splits} splits with the 95 % "
        "interval (Student's); CPU seconds of the fit and CPU microseconds a row scored; our "
        "default minus each scorer, with the 95 % interval of a paired bootstrap over the split's "
        "episodes. `minus` averages estimates and ends over splits: as wide as one split's."
    )
    splits = [f"minus, split {i}" for i in range(n_splits)]
    header = ["scorer", "mean AUROC", "fit s", "us a row", "minus", *splits]
    return f"{title}\n\n{table(header, rows)}"


def _table_of_levels(found: Found, subject: Subject) -> str:
    levels = list(found[DEFAULT][0].levels)
    rows, leaks = [], []
    for name, ones in found.items():
        means = {level: 100 * fmean(m.aurocs[level] for m in ones) for level in levels}
        above = [level for level in levels if means[level] > subject.separable.get(level, 100.0)]
        leaks += [f"{name} on {level}" for level in above]
        cells = [f"{means[level]:.1f}{' (!)' if level in above else ''}" for level in levels]
        rows.append([name, *cells])
    told = [f"{subject.separable[n]:.1f}" if n in subject.separable else "" for n in levels]
    rows.append(["(earlier) classifier told the corruption", *told])
    note = (
        "(!) marks what is above a classifier that was told the corruption, where one should look "
        f"for a leak: {', '.join(leaks) or 'nothing'}."
    )
    title = "AUROC x100 by set, mean over splits."
    return f"{title}\n\n{table(['scorer', *levels], rows)}\n\n{note}"
