"""Measure the library against baselines, peers and its ancestor; print and keep the tables.

    python scripts/benchmark.py density --data-dir DIR [--parts adbench known] [--out FOLDER]
    python scripts/benchmark.py mopo --data-dir DIR [--parts speed large] [--out FOLDER]
    python scripts/benchmark.py detection --data-dir DIR [--parts nab skab] [--out FOLDER]
    python scripts/benchmark.py augment --data-dir DIR [--parts arms low] [--out FOLDER]

DIR holds adbench/*.npz (X, y; 1 = anomaly), mujoco/*.npz (D4RL's layout: hopper_medium,
hopper_random, ...), for detection nab/, ecg5000/, skab/ and resp/ as their authors publish them,
and for augment ucr/, twenty sets of the UCR archive. What is measured is kept as one file a cell
under FOLDER/cells, so a killed run goes on where it stopped and a finished one only prints; delete
a cell to measure it again. Each part's tables are printed and written to FOLDER/<part>.md. Parts
may run in parallel processes: all use one thread and count CPU seconds. `--quick` is a smoke run
of seconds on tiny subsets, whose numbers are no results.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import adbench, alarms, known, ood, speed
from benchmarks.augment import protocol
from benchmarks.augment import speed as augment_speed
from benchmarks.cells import Bench
from benchmarks.detection import ecg5000, nab, power_converter, respiration, skab
from benchmarks.detection import speed as detection_speed
from benchmarks.mopo import diagnosis, elsewhere, history, history_returns, large, returns, shipped
from benchmarks.mopo import speed as mopo_speed
from gormpo_density.atomic import replacing
from gormpo_density.errors import GormpoDensityError

Part = Callable[[Bench], str]
SUBJECTS: dict[str, dict[str, Part]] = {
    "density": {
        "adbench": adbench.report,
        "alarms": alarms.report,
        "known": known.report,
        "speed": speed.report,
        "ood": ood.report,
        "ood_slow": ood.slow,
    },
    "mopo": {
        "returns": returns.report,
        "shipped": shipped.report,
        "environments": elsewhere.environments,
        "sparse": elsewhere.sparse,
        "drift": elsewhere.drift,
        "diagnosis": diagnosis.report,
        "history": history.report,
        "history_returns": history_returns.report,
        "speed": mopo_speed.report,
        "large": large.report,
    },
    "detection": {
        "ecg5000": ecg5000.report,
        "nab": nab.report,
        "power_converter": power_converter.report,
        "skab": skab.report,
        "respiration": respiration.report,
        "speed": detection_speed.report,
    },
    "augment": {
        "arms": protocol.report,
        "low": protocol.low,
        "features": protocol.features,
        "speed": augment_speed.report,
    },
}
QUICK_NOTE = "**A smoke run (`--quick`): its numbers are no results.**"


def main() -> int:
    """Run the chosen parts; return the exit code, 2 for bad input."""
    arguments = _parser().parse_args()
    suffix = "-quick" if arguments.quick else ""
    out = arguments.out or Path("benchmarks") / f"{arguments.subject}{suffix}"
    bench = Bench(arguments.data_dir, out, arguments.quick)
    torch.set_num_threads(1)
    try:
        for part in arguments.parts:
            _publish(arguments.subject, part, bench)
    except GormpoDensityError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="subject")
    for subject, parts in SUBJECTS.items():
        command = subjects.add_parser(subject, help=f"parts: {', '.join(parts)}")
        command.add_argument(
            "--data-dir", type=Path, required=True, help="holds the folders of data sets"
        )
        command.add_argument("--parts", nargs="+", choices=tuple(parts), default=tuple(parts))
        command.add_argument(
            "--out",
            type=Path,
            help=f"default: benchmarks/{subject}, with -quick behind it for a smoke run",
        )
        command.add_argument(
            "--quick", action="store_true", help="smoke run, its numbers are no results"
        )
    return parser


def _publish(subject: str, part: str, bench: Bench) -> None:
    quick = " --quick" if bench.quick else ""
    command = f"python scripts/benchmark.py {subject} --data-dir DIR --parts {part}{quick}"
    notes = [QUICK_NOTE] if bench.quick else []
    report = SUBJECTS[subject][part]
    text = "\n\n".join([f"# {part}", f"`{command}`", *notes, report(bench)]) + "\n"
    with replacing(bench.out / f"{part}.md") as file:
        file.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    sys.exit(main())
