"""`python -m gormpo_density.sweep`: any command over a grid of settings and seeds."""

import csv
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from filelock import FileLock

from gormpo_density import sweep as sweep_command

#: A command such as ours. Its run fails or hangs while there is a file of that name here.
TOY = """
import argparse, json, os, pathlib, sys, time

parser = argparse.ArgumentParser()
parser.add_argument("--set", action="append", default=[])
parser.add_argument("--seed", type=int)
parser.add_argument("--run-dir", type=pathlib.Path)
parser.add_argument("--stages", type=pathlib.Path)
parser.add_argument("--shift", type=int, default=0)
for flag in ("--resume", "--quiet", "--dry-run"):
    parser.add_argument(flag, action="store_true")
args = parser.parse_args()
values = {k: json.loads(v) for k, v in (setting.split("=") for setting in args.set)}
config = json.dumps(values | {"shift": args.shift, "seed": args.seed})
if unknown := values.keys() - {"a.x", "a.kind"}:
    sys.exit(print(*(f"{k} is unknown" for k in unknown), sep="\\n", file=sys.stderr) or 2)
if args.dry_run:
    sys.exit(print(config))
assert args.resume and args.quiet and args.stages
args.run_dir.mkdir(exist_ok=True)
with open("calls", "a") as calls:
    print(args.run_dir.name, file=calls)
config_file = args.run_dir / "config.yaml"
if config_file.exists() and config_file.read_text() != config:
    sys.exit(print("a run of another configuration", file=sys.stderr) or 2)
config_file.write_text(config)
if pathlib.Path("hangs").exists() and args.seed == 2:
    (args.run_dir / "pid").write_text(str(os.getpid()))
    time.sleep(600)
if pathlib.Path("fails").exists() and values["a.x"] == 3 and args.seed == 1:
    raise RuntimeError("loss is nan at epoch 7")
if not pathlib.Path("forgets").exists():
    metrics = {"return_mean": 10 * values["a.x"] + args.seed + args.shift, "kind": "toy"}
    if pathlib.Path("validates").exists():
        metrics["val_nll"] = (values["a.x"] - 3) ** 2 + args.seed
    (args.run_dir / "metrics.json").write_text(json.dumps(metrics | {"seed": args.seed}))
"""

RUNS = ["x=1-seed1", "x=1-seed2", "x=3-seed1", "x=3-seed2"]
BASE = ("--program", "toy", "--out", "out", "--jobs", "2")
GRID = (*BASE, "--set", "a.x=1,3", "--seeds", "1", "2")


class Outcome(NamedTuple):
    code: object
    out: str
    err: str


Sweep = Callable[..., Outcome]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch, capfd) -> Sweep:
    """The command as a function, in a folder where there is the toy."""
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> Outcome:
        capfd.readouterr()
        try:
            code: object = sweep_command.main(args)
        except SystemExit as exit_:
            code = exit_.code
        return Outcome(code, *capfd.readouterr())

    return call


def start(*args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gormpo_density.sweep", *args]
    # A suite that runs in the background ignores Ctrl-C, and its children would too.
    listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=listen)


def wait_for_pid(sweep: subprocess.Popen[str], file: Path) -> int:
    deadline = time.monotonic() + 120
    while not file.exists() or not (text := file.read_text()):
        assert sweep.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(text)


def calls() -> list[str]:
    """Return which runs were started since the last call."""
    file = Path("calls")
    names = file.read_text().split() if file.exists() else []
    file.unlink(missing_ok=True)
    return sorted(names)


def test_a_sweep_makes_every_run_and_sums_them_up(sweep: Sweep) -> None:
    outcome = sweep(*GRID)
    assert (outcome.code, outcome.err) == (0, "")
    assert calls() == RUNS
    assert outcome.out.count(" done\n") == 4
    with Path("out/points.csv").open() as file:
        assert list(csv.reader(file)) == [
            ["run", "a.x", "seed", "return_mean", "kind"],
            ["x=1-seed1", "1", "1", "11", "toy"],
            ["x=1-seed2", "1", "2", "12", "toy"],
            ["x=3-seed1", "3", "1", "31", "toy"],
            ["x=3-seed2", "3", "2", "32", "toy"],
        ]
    page = Path("out/summary.md").read_text()
    assert page.startswith("# return_mean of toy\n")
    assert "| x=1   |     2 | 11.500 |  5.147 | 17.853 | 11.500 | 11.000 | 12.000 |" in page
    assert "--set a.x=1,3 --seeds 1 2\n" in page
    assert Path("out/summary.png").read_bytes().startswith(b"\x89PNG")


def test_finished_runs_are_not_made_again(sweep: Sweep) -> None:
    sweep(*GRID, "--seeds", "2")
    assert calls() == ["x=1-seed2", "x=3-seed2"]
    outcome = sweep(*GRID)
    assert outcome.out.startswith("finished already: 2 of 4 runs\n")
    assert calls() == ["x=1-seed1", "x=3-seed1"]
    assert sweep(*GRID).out.startswith("finished already: 4 of 4 runs\n\nreturn_mean\n")
    assert calls() == []


def test_a_run_of_another_configuration_is_not_taken_for_ours(sweep: Sweep) -> None:
    sweep(*GRID, "--seeds", "2")
    outcome = sweep(*GRID, "--", "--shift", "5")
    assert outcome.code == 1
    assert "x=1-seed2: a run of another configuration\n" in outcome.err
    assert "| x=1   | 1 of 2 | 16.000 | " in outcome.out  # of the first seed alone


def test_a_run_that_fails_leaves_the_others_alone_and_is_tried_again(sweep: Sweep) -> None:
    Path("fails").touch()
    outcome = sweep(*GRID)
    assert outcome.code == 1
    assert outcome.err == "x=3-seed1: RuntimeError: loss is nan at epoch 7\n"
    assert outcome.out.count(" done\n") == 3
    assert "| x=3   | 1 of 2 | 32.000 | " in outcome.out
    assert calls() == RUNS
    assert "Traceback" in Path("out/logs/x=3-seed1.err").read_text()

    Path("fails").unlink()
    assert sweep(*GRID).code == 0
    assert calls() == ["x=3-seed1"]


def test_where_all_runs_fail_there_is_no_table(sweep: Sweep) -> None:
    Path("forgets").touch()
    outcome = sweep(*GRID)
    assert outcome.code == 1
    first, *_ = sorted(outcome.err.splitlines())
    assert first == "x=1-seed1: toy ended without writing out/x=1-seed1/metrics.json"
    assert not Path("out/summary.md").exists()


def test_the_best_run_by_validation_is_linked(sweep: Sweep) -> None:
    Path("validates").touch()
    outcome = sweep(*GRID, "--select", "val_nll")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith("best:     out/best -> x=3-seed1 (val_nll 1.000)\n")
    assert Path("out/best").resolve() == Path("out/x=3-seed1").resolve()
    assert Path("out/summary.md").read_text().startswith("# val_nll of toy\n")


def test_a_dry_run_prints_the_commands(sweep: Sweep) -> None:
    outcome = sweep(*GRID, "--set", "a.kind='p q'", "--dry-run", "--", "--shift", "2")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[1] == (
        "python -m toy --set a.x=1 --set 'a.kind=\"p q\"' --shift 2 --stages out/stages "
        "--seed 2 --run-dir out/x=1-seed2 --quiet --resume"
    )
    assert len(outcome.out.splitlines()) == 4
    assert calls() == []
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("args", "problems"),
    [
        ((*GRID, "--set", "b=1", "--set", "c=4,5"), ["b is unknown", "c is unknown"]),
        ((*GRID, "--shif", "2"), ["argument --shif is unknown; --help lists what there is"]),
        ((*GRID, "--", "--shift", "no"), ["toy.py: error: argument --shift: invalid int"]),
        ((*GRID, "--program", "toi"), ["--program toi: No module named toi"]),
        ((*GRID, "--seeds", "1", "1"), ["--seeds 1 1: a seed is given twice"]),
        ((*GRID, "--seeds", "one"), ["argument --seeds: invalid int value: 'one'"]),
        ((*GRID, "--select", "test_nll"), ["--select test_nll: choose by validation rows, such"]),
        ((*GRID, "--jobs", "0"), ["argument --jobs: must be at least 1, got 0"]),
        ((*GRID, "--set", "a.x=2"), ["--set a.x is given twice; its values belong together"]),
        (BASE, ["the following arguments are required: --seeds"]),
    ],
)
def test_bad_input_is_told_before_anything_runs(sweep: Sweep, args, problems) -> None:
    outcome = sweep(*args)
    assert (outcome.code, outcome.out) == (2, "")
    lines = sorted(line for line in outcome.err.splitlines() if not line.startswith("usage"))
    assert [line[: len(told)] for line, told in zip(lines, problems, strict=True)] == problems
    assert calls() == []
    assert not Path("out").exists()


def test_a_metric_that_is_not_there_can_be_chosen_anew(sweep: Sweep) -> None:
    outcome = sweep(*GRID, "--metric", "retrun_mean")
    assert outcome.code == 2
    assert outcome.err == "metric retrun_mean: no run has it; there are return_mean\n"
    assert calls() == RUNS
    assert sweep(*GRID, "--metric", "return_mean").code == 0
    assert calls() == []


def test_two_sweeps_do_not_share_a_folder(sweep: Sweep) -> None:
    with FileLock("out/.sweep.lock"):
        outcome = sweep(*GRID)
    assert (outcome.code, outcome.err) == (2, "out is in use by another sweep\n")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc of Linux")
def test_an_interrupted_sweep_stops_its_runs_and_goes_on(sweep: Sweep) -> None:
    Path("hangs").touch()
    process = start(*GRID)
    pid = wait_for_pid(process, Path("out/x=3-seed2/pid"))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, err) == (130, "interrupted; the same command goes on from here\n")
    assert not Path(f"/proc/{pid}").exists()

    Path("hangs").unlink()
    calls()
    assert sweep(*GRID).code == 0
    assert calls() == ["x=1-seed2", "x=3-seed2"]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "sweep"])
def test_ray_runs_what_a_killed_worker_was_at_again(sweep: Sweep, victim: str) -> None:
    Path("hangs").touch()
    process = start(*GRID, "--engine", "ray")
    pid = wait_for_pid(process, Path("out/x=1-seed2/pid"))
    Path("hangs").unlink()
    if victim == "worker":
        stat = Path(f"/proc/{pid}/stat").read_text()
        os.kill(int(stat.rpartition(")")[2].split()[1]), signal.SIGKILL)
    else:
        process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert not Path(f"/proc/{pid}").exists()
    if victim == "sweep":
        assert err == "interrupted; the same command goes on from here\n"
        assert process.returncode == 130
        return
    assert (process.returncode, err) == (0, "")
    assert calls() == sorted([*RUNS, "x=1-seed2"])


@pytest.mark.slow
def test_density_runs_are_swept(sweep: Sweep, transitions: Path) -> None:
    args = (
        *("--program", "gormpo_density.train", "--set", "model.n_components=2"),
        *("--seeds", "0", "--out", "out", "--"),
        *("--model", "gmm", "--data_path", str(transitions), "--set", "ood=[obs1]"),
    )
    outcome = sweep(*args)
    assert (outcome.code, outcome.err) == (0, "")
    assert "\ntest_nll\n| point         | seeds |" in outcome.out
    assert Path("out/seed0/report.html").exists()
    assert sweep(*args).out.startswith("finished already: 1 of 1 runs\n")
