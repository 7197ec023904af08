"""Measure saved runs again: `python -m gormpo_density.evaluate RUN [--ood SET ...]`."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from gormpo_density.cli import StrictParser, main_guard, resolve_device
from gormpo_density.comparison import SavedRun, compare_runs
from gormpo_density.comparison_report import comparison_tables, write_comparison
from gormpo_density.report import text_table


@main_guard
def main(argv: Sequence[str] | None = None) -> None:
    """Print a table of all sets and runs; leave the page, the plots and the numbers in the run."""
    args = _parser().parse(argv)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    device = str(resolve_device(args.device))
    runs = [SavedRun.open(path, device) for path in [args.run, *args.compare]]
    comparison = compare_runs(runs, args.ood, progress=not args.quiet)
    page = write_comparison(comparison, runs[0].path / "evaluation")
    for table in comparison_tables(comparison):
        print(text_table(table), end="\n\n")
    print(f"report: {page}")


def _parser() -> StrictParser:
    parser = StrictParser(
        "python -m gormpo_density.evaluate",
        "Measure saved density runs, also against each other.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument(
        "--compare", nargs="+", type=Path, default=[], metavar="RUN", help="further run folders"
    )
    parser.add_argument(
        "--ood",
        nargs="+",
        metavar="SET",
        help="obs0.5, act1, both2, actclip0.5, shift1, gormpo0.4, perm, unif, sparse, a dataset "
        "id or a file (default: the sets of RUN's configuration)",
    )
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    return parser


if __name__ == "__main__":
    sys.exit(main())
