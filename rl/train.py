"""Train a policy with MOPO: `python -m rl.train --config mopo/hopper.yaml`."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from gormpo_density.cli import (
    CommandParser,
    main_guard,
    resolve_device,
    run_path,
    settings_of_runs,
)
from gormpo_density.config import dump_config
from gormpo_density.data.sources import absent_data
from gormpo_density.errors import ConfigError
from gormpo_density.loggers import import_wandb
from gormpo_density.persistence import is_pair
from rl.config import MOPOConfig, load_mopo_config
from rl.gormpo_keys import MOPO_KEYS, NOISE_DEFAULTS, NOISE_SWITCHES
from rl.offline_data import load_offline_data
from rl.run import run_mopo


@main_guard
def main(argv: Sequence[str] | None = None) -> None:
    """Train one run for each seed; print where the results are."""
    args = mopo_parser().parse(argv)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    runs = [load_mopo_config(args.config, o, model=args.model) for o in settings_of_runs(args)]
    if args.wandb:
        import_wandb()
    for config in runs:
        if args.dry_run:
            _dry_run(config)
            continue
        if absent := _absent_parts(config):
            raise ConfigError(absent)
        outcome = run_mopo(
            config,
            run_path(args, config.task, run_name(config), config.seed),
            device=resolve_device(config.device),
            stages=args.stages,
            resume=args.resume,
            overwrite=args.overwrite,
            progress=not args.quiet,
            wandb=args.wandb,
        )
        print(outcome)


def mopo_parser() -> CommandParser:
    """Return the parser of this command: its own flags, and GORMPO's."""
    parser = CommandParser(
        "python -m rl.train",
        "Train a policy on an offline dataset by MOPO with a density penalty.",
        MOPO_KEYS.aliases,
        text={"density", "dynamics.run", "penalty.name", "penalty.kind", "algorithm"},
    )
    parser.add_setting("--algorithm", "algorithm", "NAME", "mopo, or a baseline: bc, td3bc")
    parser.add_setting("--penalty", "penalty.name", "NAME", "density, combination, none, ...")
    parser.add_setting("--density", "density", "RUN", "use the density model of this run")
    parser.add_setting("--dynamics", "dynamics.run", "RUN", "use the dynamics of this run")
    parser.add_argument(
        "--stages", type=Path, metavar="DIR", help="share trained parts with other runs here"
    )
    parser.add_argument("--wandb", action="store_true", help="log to Weights & Biases too")
    parser.add_setting("--auto-alpha", "auto_alpha", "BOOL", "whether the temperature is learned")
    parser.add_setting("--alpha", "alpha", "V", "the temperature where it is not learned")
    parser.add_setting(
        "--threshold-percentile", "threshold_percentile", "P", "calibration.alpha in percent"
    )
    for switch, part in NOISE_SWITCHES.items():
        told = f"measure policies under {part} noise; --set evaluation.noise says how much"
        const = f"{switch}=true"
        parser.add_argument(
            f"--{switch}", dest="overrides", action="append_const", const=const, help=told
        )
    for key, default in NOISE_DEFAULTS.items():
        parser.add_setting(f"--{key}", key, "V", f"of that noise (default {default:g})")
    for key, reason in MOPO_KEYS.without_effect.items():
        parser.add_setting(f"--{key}", key, "V", f"no effect here: {reason}")
    return parser


def run_name(config: MOPOConfig) -> str:
    """Return what tells runs on the same data apart: the penalty, or the baseline."""
    return config.penalty.name if config.algorithm == "mopo" else config.algorithm


def _dry_run(config: MOPOConfig) -> None:
    print(dump_config(config), end="")
    resolve_device(config.device, dry_run=True)
    data = config.data
    absent = _absent_parts(config)
    if missing := absent_data(data.dataset, data.data_path, data.data_dir):
        absent.append(missing)
    else:
        load_offline_data(data, config.seed, torch.device("cpu"), progress=False)
    for problem in absent:
        print(f"warning: {problem}", file=sys.stderr)


def _absent_parts(config: MOPOConfig) -> list[str]:
    """Name the trained parts that the configuration asks for and that are not there."""
    parts = {"density": config.density, "dynamics": config.dynamics.run}
    return [
        f"{path} is not there (--{flag} RUN names another)"
        for flag, path in parts.items()
        if path is not None and not path.exists() and not is_pair(path)
    ]


if __name__ == "__main__":
    sys.exit(main())
