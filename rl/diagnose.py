"""See where a run's model errs, and which penalty tells: `python -m rl.diagnose RUN`."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from gormpo_density.cli import StrictParser, main_guard, resolve_device
from gormpo_density.report import text_table
from rl.diagnosis import RolloutPlan, diagnose
from rl.diagnosis_report import diagnosis_tables, write_diagnosis
from rl.saved_run import open_mopo_run


@main_guard
def main(argv: Sequence[str] | None = None) -> None:
    """Print how well each penalty tells true errors; leave page, plots and numbers in the run."""
    args = _parser().parse(argv)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    plan = RolloutPlan(args.starts, args.horizon, args.seed)
    device = resolve_device(args.device)
    run = open_mopo_run(args.run, device, args.density, progress=not args.quiet)
    if run.density is None:
        print(f"{args.run} has no density model: penalties of the ensemble only (--density RUN)\n")
    diagnosis = diagnose(run, plan, progress=not args.quiet)
    page = write_diagnosis(run, diagnosis, args.run / "diagnosis")
    for table in diagnosis_tables(diagnosis):
        print(f"{table.caption}\n{text_table(table)}\n")
    print(f"report: {page}")


def _parser() -> StrictParser:
    parser = StrictParser(
        "python -m rl.diagnose",
        "Hold a finished MOPO run's penalties against the true errors of its dynamics model.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument(
        "--density", type=Path, metavar="RUN", help="density model in place of the run's own"
    )
    shown = RolloutPlan()
    parser.add_argument(
        "--starts", type=int, default=shown.starts, metavar="N", help="held-out start states"
    )
    parser.add_argument(
        "--horizon", type=int, default=shown.horizon, metavar="N", help="steps of a rollout"
    )
    parser.add_argument("--seed", type=int, default=shown.seed, metavar="N")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    return parser


if __name__ == "__main__":
    sys.exit(main())
