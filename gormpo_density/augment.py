"""Augment labelled series: `python -m gormpo_density.augment --config augment/symbols.yaml`."""

import logging
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gormpo_density.augmenting.config import AugmentConfig, load_augment_config
from gormpo_density.augmenting.data import absent_augment_data, load_augment_data
from gormpo_density.augmenting.files import check_export, export_augmented
from gormpo_density.augmenting.keys import AUGMENT_KEYS, SHARED_KEYS, SWITCHES, switch_path
from gormpo_density.augmenting.run import run_augmentation
from gormpo_density.augmenting.tables import seeds_text
from gormpo_density.augmenting.training import run_name
from gormpo_density.cli import (
    CommandParser,
    main_guard,
    resolve_device,
    run_path,
    settings_of_runs,
)
from gormpo_density.config import dump_config
from gormpo_density.errors import ConfigError
from gormpo_density.loggers import import_wandb


@main_guard
def main(argv: Sequence[str] | None = None) -> None:
    """Make one run for each seed; print where the results are."""
    args = augment_parser().parse(argv)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    runs = [load_augment_config(args.config, o, model=args.model) for o in settings_of_runs(args)]
    _check(args, runs)
    if args.dry_run:
        for config in runs:
            _dry_run(config)
        return
    paths = [run_path(args, c.task or c.data.dataset, run_name(c), c.seed) for c in runs]
    loud: dict[str, Any] = {} if args.quiet else {"progress": True, "tell": _say}
    for config, path in zip(runs, paths, strict=True):
        outcome = run_augmentation(
            config,
            path,
            device=resolve_device(config.device),
            resume=args.resume,
            overwrite=args.overwrite,
            wandb=args.wandb,
            **loud,
        )
        print(outcome)
        if args.export is not None:
            print(export_augmented(config, path, args.export))
    if len(paths) > 1 and runs[0].arms:
        print(seeds_text(paths))


def augment_parser() -> CommandParser:
    """Return the parser of this command: its own flags, and LSTSAUG's."""
    parser = CommandParser(
        "python -m gormpo_density.augment",
        "Augment labelled series in a latent space, and measure whether it helps a classifier.",
        {key: path for key, path in AUGMENT_KEYS.aliases.items() if key not in SWITCHES},
        text={"data.dataset", "export.model_dir", "export.results_dir"},
    )
    for key, paths in SHARED_KEYS.items():
        parser.add_setting(f"--{key}", key, "V", f"sets {' and '.join(paths)}")
    for name, text in SWITCHES.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest="overrides",
            action="append_const",
            const=f"{switch_path(name)}=true",
            help=text,
        )
    parser.add_argument(
        "--export",
        type=Path,
        metavar="FILE",
        help="write the augmented training rows, as scaled (.npz, .tsv, .ts)",
    )
    parser.add_argument("--wandb", action="store_true", help="log to Weights & Biases too")
    return parser


def _check(args: Namespace, runs: Sequence[AugmentConfig]) -> None:
    """Tell what cannot work before anything is trained."""
    if args.export is not None:
        if len(runs) > 1:
            raise ConfigError("--export writes one file: give one --seed, not --seeds")
        check_export(args.export)
    if args.wandb:
        import_wandb()


def _say(line: str) -> None:
    print(line, flush=True)


def _dry_run(config: AugmentConfig) -> None:
    print(dump_config(config), end="")
    resolve_device(config.device, dry_run=True)
    absent = absent_augment_data(config.data)
    if absent is None:
        absent = load_augment_data(config.data, config.seed).substitution
    if absent is not None:
        print(f"warning: {absent}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
