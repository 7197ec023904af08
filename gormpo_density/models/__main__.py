"""List what is installed: `python -m gormpo_density.models`."""

import sys
from collections.abc import Sequence

from gormpo_density.catalogue import FITTED_ROWS, ROW_WIDTH, WINDOW_STEPS, Listing, list_models
from gormpo_density.cli import StrictParser, main_guard
from gormpo_density.registry import available_penalties

_LINE = "{:<14} {:<10} {:>8}  {}"


@main_guard
def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for every model as it is measured, and the names of the penalties."""
    _parser().parse(argv)
    print(_LINE.format("model", "score", "us", "scores, the default first, and where it is from"))
    for listing in list_models():
        print(_line(listing), flush=True)
    print(
        f"\nus: processor time to score one row of {ROW_WIDTH} features (window: {WINDOW_STEPS} "
        f"steps of them), default\nsize, after a fit to {FITTED_ROWS:,} rows; a model that keeps "
        "its training rows costs more with more of them.\n"
        f"\npenalties: {', '.join(available_penalties())}"
    )


def _line(listing: Listing) -> str:
    if listing.problem is not None:
        problem = listing.problem.splitlines()[0]
        what = f"cannot be used: {problem} [{listing.origin}]"
        return _LINE.format(listing.name, "-", "-", what)
    kind = next(iter(listing.scores.values()))
    window = " (window)" if len(listing.event_shape) == 2 else ""
    what = f"{', '.join(listing.scores)}{window} [{listing.origin}]"
    return _LINE.format(listing.name, kind, f"{listing.microseconds:.3g}", what)


def _parser() -> StrictParser:
    return StrictParser(
        "python -m gormpo_density.models",
        "List the models and penalties that are installed, with the cost of scoring a row.",
    )


if __name__ == "__main__":
    sys.exit(main())
