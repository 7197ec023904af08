import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gormpo_density.errors import ConfigError
from gormpo_density.sweep_grid import make_grid
from gormpo_density.sweep_jobs import Job, Outcome
from gormpo_density.sweep_run import Sweep, check, run, shares_stages, unfinished

#: Prints its command line as a configuration; complains of what is called bad.
ECHO = """
import json, sys
words = sys.argv[1:]
bad = [word for word in words if word.startswith('a="bad')]
print(json.dumps({"words": words}), *bad)
sys.exit(print(*bad, "always", sep="\\n", file=sys.stderr) or 2 if bad else 0)
"""


def sweep_of(folder: Path, *settings: str, program: str = "echo") -> Sweep:
    return Sweep(program, None, make_grid(settings), [3, 4], [], folder, shares_stages=False)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for programs."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "echo.py").write_text(ECHO)
    return tmp_path


def test_a_command_line_has_all_that_decides_the_run() -> None:
    plain = sweep_of(Path("out"), "a.b=1", "c.d=x,y")
    sweep = dataclasses.replace(plain, config="mopo/hopper", flags=["--task", "z"])
    assert sweep.job(sweep.points[1], 3) == Job(
        "d=y-seed3",
        (
            *("-m", "echo", "--config", "mopo/hopper", "--set", "a.b=1", "--set", 'c.d="y"'),
            *("--task", "z", "--seed", "3", "--run-dir", "out/d=y-seed3", "--quiet", "--resume"),
        ),
        Path("out/logs"),
    )
    shared = dataclasses.replace(sweep, shares_stages=True).arguments(sweep.points[0], 4)
    assert shared[shared.index("--stages") + 1] == "out/stages"


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("  --stages DIR  shared", True),
        ("[--stages DIR]", True),
        ("--stages-of, --my--stages", False),
    ],
)
def test_the_help_tells_who_shares_stages(programs: Path, text: str, shares: bool) -> None:
    (programs / "helpful.py").write_text(f"print({text!r})")
    assert shares_stages("helpful") is shares


@pytest.mark.parametrize(
    ("code", "problem"),
    [("raise KeyError('x')", "--program broken: KeyError: 'x'"), ("exit(3)", "exit code 3")],
)
def test_a_program_that_cannot_start_is_told(programs: Path, code: str, problem: str) -> None:
    (programs / "broken.py").write_text(code)
    with pytest.raises(ConfigError, match=problem):
        shares_stages("broken")


def test_every_point_is_checked_under_the_first_seed(programs: Path) -> None:
    sweep = sweep_of(programs, "a=1,2,5")
    configs = check(sweep, 2)
    assert [config["words"] for config in configs] == [
        [*sweep.arguments(point, 3)[2:], "--dry-run"] for point in sweep.points
    ]


def test_a_program_may_print_anything(programs: Path) -> None:
    (programs / "chatty.py").write_text("print('a: [')")
    assert check(sweep_of(programs, program="chatty"), 1) == [None]


def test_every_problem_of_every_point_is_told_once(programs: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        check(sweep_of(programs, "a=bad,good,bad2"), 2)
    assert caught.value.problems == ('a="bad"', "always", 'a="bad2"')


def test_only_a_run_of_the_same_configuration_is_finished(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, "a=1,2")
    configs = [{"a": 1, "seed": 3}, {"a": 2, "seed": 3}]

    def leave(name: str, config: object, *, finished: bool = True) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(json.dumps(config))
        if finished:
            (tmp_path / name / "metrics.json").touch()

    leave("a=1-seed3", {"a": 1, "seed": 3})
    leave("a=1-seed4", {"a": 1, "seed": 4}, finished=False)
    leave("a=2-seed3", {"a": 7, "seed": 3})
    leave("a=2-seed4", {"seed": 4, "a": 2})
    assert [job.name for job in unfinished(sweep, configs)] == ["a=1-seed4", "a=2-seed3"]
    assert len(unfinished(sweep, [None, None])) == 4  # the program itself finds out


def test_a_run_has_to_leave_its_metrics(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)

    def engine(jobs: Sequence[Job], n: int | None) -> Iterator[Outcome]:
        assert n == 5
        (tmp_path / "seed3").mkdir()
        (tmp_path / "seed3" / "metrics.json").touch()
        yield Outcome("seed3")
        yield Outcome("seed4")
        yield Outcome("other", "burnt")

    assert list(run(sweep, [], engine, 5)) == []
    ended = list(run(sweep, [sweep.job(sweep.points[0], 3)], engine, 5))
    missing = f"echo ended without writing {tmp_path / 'seed4' / 'metrics.json'}"
    assert ended == [Outcome("seed3"), Outcome("seed4", missing), Outcome("other", "burnt")]
