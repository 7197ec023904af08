import errno
from pathlib import Path

import pytest
import torch

from gormpo_density.cli import CommandParser, main_guard, resolve_device, settings_of_runs
from gormpo_density.config_files import parse_yaml
from gormpo_density.errors import ConfigError, RunFolderError


def parse(*words: str):
    aliases = {"latent_dim": "model.latent_dim", "epochs": "fit.epochs", "data_path": "elsewhere"}
    return CommandParser("prog", "Does it.", aliases).parse(words)


def problems(*words: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as error:
        parse(*words)
    return error.value.problems


def test_nothing_is_set_by_default() -> None:
    assert vars(parse()) == {
        "config": None,
        "overrides": [],
        "model": None,
        "run_dir": None,
        "resume": False,
        "overwrite": False,
        "dry_run": False,
        "seeds": None,
        "quiet": False,
    }


def test_flags_are_settings_in_the_order_given() -> None:
    args = parse("--seed", "3", "--set", "fit.epochs=9", "--epochs=2", "--latent_dim", "8")
    assert args.overrides == ["seed=3", "fit.epochs=9", "fit.epochs=2", "model.latent_dim=8"]


def test_two_command_lines_do_not_share_their_settings() -> None:
    parser = CommandParser("prog", "Does it.", {})
    parser.parse(["--seed", "1"])
    assert parser.parse([]).overrides == []


@pytest.mark.parametrize("flag", ["--run-dir", "--run_dir", "--run-dir=r_1", "--run_dir=r_1"])
def test_a_dash_and_an_underscore_are_the_same(flag: str) -> None:
    words = [flag] if "=" in flag else [flag, "r_1"]
    assert parse(*words).run_dir == Path("r_1")


@pytest.mark.parametrize("value", ["1e6", "no", "a b", 'say "x"', "C:\\new", "null", "é😀", "{"])
def test_text_stays_the_text_it_is(value: str) -> None:
    for flag, path in (("--task", "task"), ("--data_path", "data.data_path")):
        (setting,) = parse(flag, value).overrides
        assert setting.startswith(f"{path}=")
        assert parse_yaml(setting.removeprefix(f"{path}="), "here") == value


def test_a_command_says_which_more_of_its_settings_are_text() -> None:
    parser = CommandParser("prog", "Does it.", {"model_dir": "a.run"}, text={"a.run"})
    parser.add_setting("--run-of_a", "a.run", "RUN", "100 % of it")
    assert parser.parse(["--model-dir", "1e6", "--run_of_a", "no"]).overrides == [
        *('a.run="1e6"', 'a.run="no"')
    ]
    assert "100 % of it" in parser.format_help()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--epoch", "3"], "argument --epoch is unknown, did you mean --epochs?"),
        (["--run_dri=x"], "argument --run-dri=x is unknown, did you mean --run-dir?"),
        (["--zzzzzz"], "argument --zzzzzz is unknown; --help lists what there is"),
        (["word"], "argument word is unknown; --help lists what there is"),
        (["--config"], "argument --config: expected one argument"),
        (["--seeds"], "argument --seeds: expected at least one argument"),
        (["--resume", "--overwrite"], "argument --overwrite: not allowed with argument --resume"),
        (["--seed", "1", "--seeds", "2"], "argument --seeds: not allowed with argument --seed"),
    ],
)
def test_a_wrong_flag_is_told_in_one_line(words: list[str], problem: str) -> None:
    assert problems(*words) == (problem,)


def test_help_lists_every_flag_once(capsys) -> None:
    with pytest.raises(SystemExit) as leaving:
        parse("--help")
    assert leaving.value.code == 0
    text = capsys.readouterr().out
    for flag in ("--config", "--set", "--seeds", "--data-path", "--latent-dim", "--dry-run"):
        assert text.count(f"  {flag} ") == 1


def test_one_run_for_each_seed() -> None:
    assert settings_of_runs(parse("--task", "x")) == [['task="x"']]
    assert settings_of_runs(parse("--epochs", "2", "--seeds", "5", "6")) == [
        ["fit.epochs=2", "seed=5"],
        ["fit.epochs=2", "seed=6"],
    ]
    with pytest.raises(ConfigError, match="--seeds 1 2 1: a seed is given twice"):
        settings_of_runs(parse("--seeds", "1", "2", "1"))


@pytest.fixture
def gpus(monkeypatch):
    """Return a function that sets how many CUDA devices torch sees."""

    def see(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return see


@pytest.mark.parametrize(
    ("name", "count", "device"),
    [
        ("auto", 0, "cpu"),
        ("auto", 1, "cuda"),
        ("cpu", 1, "cpu"),
        ("cuda", 1, "cuda"),
        ("cuda:1", 2, "cuda:1"),
    ],
)
def test_a_device_is_resolved(gpus, name: str, count: int, device: str) -> None:
    gpus(count)
    assert resolve_device(name) == torch.device(device)


@pytest.mark.parametrize(("name", "count"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2)])
def test_an_absent_gpu_is_an_error_or_a_warning_of_a_dry_run(gpus, capsys, name, count) -> None:
    gpus(count)
    with pytest.raises(ConfigError, match=f"device {name} is not there .*--device cpu"):
        resolve_device(name)
    assert resolve_device(name, dry_run=True) == torch.device("cpu")
    assert capsys.readouterr().err.startswith(f"warning: device {name} is not there")


def test_an_unknown_device_is_an_error() -> None:
    with pytest.raises(ConfigError, match="device 'gpu' is unknown; choose from auto, cpu, cuda"):
        resolve_device("gpu")


def outcome(error: BaseException | None, capsys) -> tuple[int, str]:
    """Return the exit code and stderr of a command that ends in `error`."""

    @main_guard
    def main(argv=None) -> None:
        if error is not None:
            raise error

    return main([]), capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (None, 0, ""),
        (ConfigError(["a is wrong", "b is wrong"]), 2, "a is wrong\nb is wrong\n"),
        (RunFolderError("two\nlines"), 2, "two lines\n"),
        (OSError(errno.ENOSPC, "No space left on device", "f"), 2, "f: No space left on device\n"),
        (OSError("no number"), 2, "no number\n"),
        (
            KeyboardInterrupt(),
            130,
            "interrupted; the same command with --resume goes on from here\n",
        ),
    ],
)
def test_the_guard_turns_errors_into_lines_and_codes(error, code, text, capsys) -> None:
    assert outcome(error, capsys) == (code, text)


def test_a_bug_keeps_its_traceback(capsys) -> None:
    with pytest.raises(ZeroDivisionError):
        outcome(ZeroDivisionError(), capsys)


def test_a_wrong_flag_leaves_with_two(capsys) -> None:
    @main_guard
    def main(argv=None) -> None:
        CommandParser("prog", "Does it.", {}).parse(argv)

    assert main(["--nothing"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
