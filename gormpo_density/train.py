"""Train a density model: `python -m gormpo_density.train --config hopper.yaml`."""

import logging
import sys
from collections.abc import Sequence

from gormpo_density.cli import (
    CommandParser,
    main_guard,
    resolve_device,
    run_path,
    settings_of_runs,
)
from gormpo_density.config import DensityConfig, ExportConfig, dump_config, load_config
from gormpo_density.density_data import check_density_data
from gormpo_density.density_run import run_density, unwritable_exports
from gormpo_density.errors import ConfigError
from gormpo_density.gormpo_keys import DENSITY_KEYS


@main_guard
def main(argv: Sequence[str] | None = None) -> None:
    """Train one run for each seed; print where the results are."""
    parser = CommandParser(
        "python -m gormpo_density.train",
        "Train a density model on an offline dataset.",
        DENSITY_KEYS.aliases,
    )
    args = parser.parse(argv)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    runs = [load_config(args.config, o, model=args.model) for o in settings_of_runs(args)]
    if len(runs) > 1 and runs[0].export != ExportConfig():
        raise ConfigError("export copies one run: with --seeds, each would overwrite the last")
    for config in runs:
        if args.dry_run:
            _dry_run(config)
            continue
        if problems := unwritable_exports(config.export):
            raise ConfigError(problems)
        outcome = run_density(
            config,
            run_path(args, config.task, config.model.name, config.seed),
            device=resolve_device(config.device),
            resume=args.resume,
            overwrite=args.overwrite,
            progress=not args.quiet,
        )
        print(outcome)


def _dry_run(config: DensityConfig) -> None:
    print(dump_config(config), end="")
    resolve_device(config.device, dry_run=True)
    problems = unwritable_exports(config.export)
    if absent := check_density_data(config.data, config.seed):
        problems.append(absent)
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
