"""The grammar that every command shares: flags, exit codes, the device, several seeds.

Exit codes: 0 done, 2 bad input (one line per problem on stderr), 130 interrupted (resumable).
"""

import argparse
import difflib
import functools
import json
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import torch

from gormpo_density.errors import ConfigError, GormpoDensityError
from gormpo_density.runs import default_run_path

#: Settings that are text whatever they look like; the value of any other flag is read as YAML.
_TEXT = frozenset(
    {"task", "device", "data.data_path", "data.data_dir", "export.model_prefix", "export.plots"}
)


class StrictParser(argparse.ArgumentParser):
    """Parser whose wrong flags are told in one line each.

    A dash and an underscore in a flag are the same; a flag is not abbreviated.

    Args:
        prog: How the command is called, for the help text.
        description: What it does, one line.
    """

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog, description=description, allow_abbrev=False)

    def parse(self, argv: Sequence[str] | None = None) -> argparse.Namespace:
        """Parse a command line, by default the program's own.

        Raises:
            ConfigError: A flag is unknown, lacks its value, or contradicts another one.
        """
        words = sys.argv[1:] if argv is None else argv
        args, unknown = self.parse_known_args([_dashed(w) for w in words])
        if unknown:
            flags = [word for word in unknown if word.startswith("-")]
            raise ConfigError([self._unknown(word) for word in flags or unknown])
        return args

    def _unknown(self, word: str) -> str:
        near = difflib.get_close_matches(word.partition("=")[0], self._option_string_actions, n=1)
        hint = f", did you mean {near[0]}?" if near else "; --help lists what there is"
        return f"argument {word} is unknown{hint}"

    def error(self, message: str) -> NoReturn:
        """Raise a wrong use as the error that `main_guard` prints."""
        raise ConfigError(message)


class CommandParser(StrictParser):
    """Parser of a command that makes runs, with the flags all such commands have.

    It parses to config, overrides (what every other flag sets, as "path=value"), model, run_dir,
    resume, overwrite, dry_run, seeds, quiet, and the command's own arguments.

    Args:
        prog: How the command is called, for the help text.
        description: What it does, one line.
        aliases: Further flags, each with the path of the configuration it sets.
        text: Paths whose values are text whatever they look like, besides those of all commands.
    """

    def __init__(
        self,
        prog: str,
        description: str,
        aliases: Mapping[str, str],
        text: Collection[str] = (),
    ) -> None:
        super().__init__(prog, description)
        self.set_defaults(overrides=[])
        self._text = _TEXT.union(text)
        self._add_run_flags()
        self.add_setting("--task", "task", "NAME", "name of the run; alone, also its data")
        self.add_setting("--data-path", "data.data_path", "FILE", "data of one's own")
        self.add_setting("--data-dir", "data.data_dir", "DIR", "folder that holds the data")
        self.add_setting("--device", "device", "auto|cpu|cuda", "where to compute")
        for alias, path in aliases.items():
            flag = _dashed(f"--{alias}")
            if flag not in self._option_string_actions:
                self.add_setting(flag, path, "V", f"the same as --set {path}=V")

    def _add_run_flags(self) -> None:
        self.add_argument("--config", metavar="NAME|PATH", help="YAML or JSON configuration")
        self.add_argument(
            "--set",
            dest="overrides",
            action="append",
            metavar="A.B=V",
            help="set one value of it (repeatable)",
        )
        self.add_argument("--model", metavar="NAME", help="use this model, with its defaults")
        self.add_argument(
            "--run-dir", type=Path, metavar="DIR", help="default: runs/<task>-<name>-seed<seed>"
        )
        existing = self.add_mutually_exclusive_group()
        existing.add_argument("--resume", action="store_true", help="go on with a killed run")
        existing.add_argument("--overwrite", action="store_true", help="replace a run")
        self.add_argument("--dry-run", action="store_true", help="print the config, train nothing")
        seeds = self.add_mutually_exclusive_group()
        seeds.add_argument(
            "--seed",
            dest="overrides",
            action="append",
            type=functools.partial(_setting, "seed"),
            metavar="N",
            help="seeds everything random",
        )
        seeds.add_argument("--seeds", nargs="+", metavar="N", help="one run for each seed")
        self.add_argument("--quiet", action="store_true", help="no progress bars")

    def add_setting(self, flag: str, path: str, metavar: str, text: str) -> None:
        """Add a flag that sets one value of the configuration.

        Args:
            flag: For example "--data-path".
            path: Where the value goes, dotted.
            metavar: What stands for the value in the help text.
            text: The help text.
        """
        self.add_argument(
            _dashed(flag),
            dest="overrides",
            action="append",
            type=functools.partial(_setting, path, is_text=path in self._text),
            metavar=metavar,
            help=text.replace("%", "%%"),
        )


def _dashed(word: str) -> str:
    """Return a flag with dashes for underscores; its value and other words stay as they are."""
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value if word.startswith("--") else word


def _setting(path: str, value: str, is_text: bool = False) -> str:
    return f"{path}={json.dumps(value, ensure_ascii=False) if is_text else value}"


def settings_of_runs(args: argparse.Namespace) -> list[list[str]]:
    """Return the overrides of each run to be made: one run, or one for each of --seeds.

    Raises:
        ConfigError: A seed is given twice.
    """
    if args.seeds is None:
        return [args.overrides]
    if len(set(args.seeds)) < len(args.seeds):
        raise ConfigError(f"--seeds {' '.join(args.seeds)}: a seed is given twice")
    return [[*args.overrides, f"seed={seed}"] for seed in args.seeds]


def run_path(args: argparse.Namespace, task: str | None, name: str, seed: int) -> Path:
    """Return where a run goes: --run-dir, with a folder for each of --seeds, or the default.

    Args:
        args: Parsed by `CommandParser`.
        task: Name of the run, None for data of one's own.
        name: What tells runs of the task apart, such as the model.
        seed: Of the run.
    """
    if args.run_dir is None:
        return default_run_path(task or "custom", name, seed)
    path: Path = args.run_dir
    return path / f"seed{seed}" if args.seeds else path


def resolve_device(name: str, *, dry_run: bool = False) -> torch.device:
    """Return the device behind "auto", "cpu", "cuda" or "cuda:N".

    Args:
        name: As configured; "auto" is CUDA where there is one.
        dry_run: Warn on stderr of an absent device, and return the CPU.

    Raises:
        ConfigError: The CUDA device is not there, or the name is none of these.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    if not re.fullmatch(r"cpu|cuda(:[0-9]+)?", name):
        raise ConfigError(f"device {name!r} is unknown; choose from auto, cpu, cuda, cuda:N")
    device = torch.device(name)
    if device.type != "cuda" or (device.index or 0) < count:
        return device
    problem = (
        f"device {name} is not there ({count} CUDA devices found); --device cpu works anywhere"
    )
    if not dry_run:
        raise ConfigError(problem)
    print(f"warning: {problem}", file=sys.stderr)
    return torch.device("cpu")


def main_guard(command: Callable[[Sequence[str] | None], None]) -> Callable[..., int]:
    """Make a command's function its main: bad input becomes lines on stderr and an exit code.

    Returns:
        A function of the command line (None: the program's own) that returns 0 when done, 2 for
        bad input or an operating system's refusal (a full disk), 130 when interrupted. Any other
        exception is a bug and keeps its traceback.
    """

    @functools.wraps(command)
    def main(argv: Sequence[str] | None = None) -> int:
        try:
            command(argv)
        except GormpoDensityError as error:
            problems = error.problems
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            problems = (f"{place}{error.strerror or error}",)
        except KeyboardInterrupt:
            print("interrupted; the same command with --resume goes on from here", file=sys.stderr)
            return 130
        else:
            return 0
        for problem in problems:
            print(" ".join(problem.split("\n")), file=sys.stderr)
        return 2

    return main
