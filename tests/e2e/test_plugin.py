"""The example plug-in, installed as a user would: commands find what it brings, its tests pass."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gormpo_density import available_models, available_penalties, load_model, registry
from gormpo_density.models.__main__ import main as list_models
from gormpo_density.registry import model_origin
from rl.train import main as train_mopo

ROOT = Path(__file__).parents[2]


def run(*args: object, **env: str) -> str:
    """Run `python ARGS` in the checkout and return what it printed; a failure shows that too."""
    finished = subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=ROOT,
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout
    return finished.stdout


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the plug-in, entry points and all, into a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", folder)
    run("-m", "pip", "install", *options, ROOT / "examples" / "plugin")
    return folder


@pytest.fixture
def _installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "_penalties", {})
    yield
    sys.modules.pop("heavy_tails", None)


@pytest.mark.usefixtures("_installed")
def test_it_is_found_by_name_without_being_imported() -> None:
    assert "student_t" in available_models()
    assert available_penalties()[-1] == "quadratic"
    assert model_origin("student_t") == "gormpo-density-heavy-tails 0.1.0"
    assert "heavy_tails" not in sys.modules


@pytest.mark.usefixtures("_installed")
def test_a_command_resolves_its_configuration(train) -> None:
    outcome = train("--config", "hopper.yaml", "--model", "student_t", "--dry-run")
    assert outcome.code == 0
    assert "name: student_t" in outcome.out


@pytest.mark.usefixtures("_installed", "without_report")
def test_a_command_trains_it(train, transitions: Path, tmp_path: Path) -> None:
    flags = ("--data_path", transitions, "--model", "student_t", "--epochs", 2, "--quiet")
    outcome = train(*flags, "--set", "ood=[perm]", "--run-dir", tmp_path / "run")
    assert (outcome.code, outcome.err) == (0, "")
    assert type(load_model(tmp_path / "run")).__name__ == "StudentT"


@pytest.mark.usefixtures("_installed")
def test_mopo_takes_its_penalty(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--config", "mopo/hopper.yaml", "--model", "student_t", "--dry-run"]
    assert train_mopo([*flags, "--set", "penalty.kind=quadratic"]) == 0
    printed = capsys.readouterr().out
    assert "kind: quadratic" in printed
    assert "name: student_t" in printed


@pytest.mark.slow
@pytest.mark.usefixtures("_installed")
def test_it_is_listed_with_its_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert list_models([]) == 0
    printed = capsys.readouterr().out
    (line,) = (line for line in printed.splitlines() if line.startswith("student_t "))
    assert "exact" in line
    assert line.endswith("log_prob [gormpo-density-heavy-tails 0.1.0]")
    assert "cannot be used" not in printed


@pytest.mark.slow
def test_its_own_tests_pass(site: Path) -> None:
    path = os.pathsep.join([str(site), str(ROOT)])
    run("-m", "pytest", "-p", "no:cacheprovider", ROOT / "examples", PYTHONPATH=path)
