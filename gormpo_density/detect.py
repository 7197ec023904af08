"""Find anomalies in time series: `python -m gormpo_density.detect --config detect/skab.yaml`."""

import logging
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from gormpo_density.cli import (
    CommandParser,
    main_guard,
    resolve_device,
    run_path,
    settings_of_runs,
)
from gormpo_density.config import dump_config
from gormpo_density.detection.config import DetectConfig, load_detect_config
from gormpo_density.detection.data import absent_detect_data, load_detect_data
from gormpo_density.detection.keys import DETECT_KEYS
from gormpo_density.detection.new import score_new_data
from gormpo_density.detection.run import prepare_data, run_detection
from gormpo_density.errors import ConfigError

#: Flags of a new run.
_NOT_WITH_SCORE = (
    *("config", "model", "seeds", "prepare"),
    *("run_dir", "resume", "overwrite", "dry_run"),
)


@main_guard
def main(argv: Sequence[str] | None = None) -> None:
    """Make one run for each seed, or score new data; print where the results are."""
    args = _parser().parse(argv)
    _show_warnings()
    if args.score is not None or args.run is not None:
        print(_score(args))
        return
    runs = [load_detect_config(args.config, o, model=args.model) for o in settings_of_runs(args)]
    if args.out is not None:
        raise ConfigError("--out is where --score writes; a run goes to --run-dir DIR")
    if args.prepare is not None:
        if len(runs) > 1:
            raise ConfigError("--prepare writes one file: give one --seed, not --seeds")
        print(prepare_data(runs[0], args.prepare))
        return
    for config in runs:
        if args.dry_run:
            _dry_run(config)
            continue
        outcome = run_detection(
            config,
            run_path(args, config.task or config.data.dataset, config.model.name, config.seed),
            device=resolve_device(config.device),
            resume=args.resume,
            overwrite=args.overwrite,
            **({} if args.quiet else {"tell": _say}),
        )
        print(outcome)


def _parser() -> CommandParser:
    parser = CommandParser(
        "python -m gormpo_density.detect",
        "Learn what is normal in a time series and find what is not.",
        DETECT_KEYS.aliases,
        text={"data.dataset", "data.time", "data.label"},
    )
    parser.add_argument(
        "--prepare",
        type=Path,
        metavar="FILE",
        help="write the prepared windows (npz), train nothing",
    )
    parser.add_argument("--score", type=Path, metavar="FILE", help="score new data, with --run")
    parser.add_argument("--run", type=Path, metavar="RUN", help="run folder of a saved detector")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where --score writes; default: RUN/scored/<FILE>"
    )
    return parser


def _score(args: Namespace) -> str:
    if args.score is None or args.run is None:
        raise ConfigError("--score FILE and --run RUN go together")
    if given := [word for word in _NOT_WITH_SCORE if getattr(args, word) not in (None, False)]:
        flags = (f"--{word.replace('_', '-')}" for word in given)
        raise ConfigError([f"{flag}: the saved run decides what --score does" for flag in flags])
    device = "auto"
    for setting in args.overrides:
        if not setting.startswith("device="):
            raise ConfigError(f"{setting}: the saved run decides what --score does")
        device = setting.removeprefix("device=").strip('"')
    return score_new_data(args.score, args.run, args.out, device=resolve_device(device))


def _show_warnings() -> None:
    """Print each warning once: the model and every baseline may have the same to say."""
    handler = logging.StreamHandler()
    handler.addFilter(_first_time())
    logging.basicConfig(
        format="%(levelname)s: %(message)s", level=logging.WARNING, handlers=[handler]
    )


def _first_time() -> Callable[[logging.LogRecord], bool]:
    told: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if text in told:
            return False
        told.add(text)
        return True

    return is_new


def _say(line: str) -> None:
    print(line, flush=True)


def _dry_run(config: DetectConfig) -> None:
    print(dump_config(config), end="")
    resolve_device(config.device, dry_run=True)
    absent = absent_detect_data(config.data)
    if absent is None:
        load_detect_data(config.data, config.seed)
    else:
        print(f"warning: {absent}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
