"""The wheel, built by way of the source distribution, is complete and works by itself."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def run(*args: object, cwd: Path = ROOT, **env: str) -> str:
    """Run `python ARGS` and return what it printed; a failure shows that too."""
    finished = subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=cwd,
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout
    return finished.stdout


def shipped(folder: Path, installed_as: str) -> set[str]:
    """Name the files of `folder` as they should be called in the wheel."""
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {f"{installed_as}/{path.as_posix()}" for path in files if path.suffix != ".pyc"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--no-isolation", "--outdir", folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a folder of its own; dependencies come from this environment."""
    folder = tmp_path_factory.mktemp("site")
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", folder, wheel)
    return folder


def test_wheel_holds_both_packages_and_the_configs_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == (
        shipped(ROOT / "gormpo_density", "gormpo_density")
        | shipped(ROOT / "rl", "rl")
        | shipped(ROOT / "configs", "gormpo_density/configs")
    )
    assert {"gormpo_density/py.typed", "gormpo_density/configs/hopper.yaml"} <= names
    assert any(name.startswith("gormpo_density/data/weights/") for name in names)


def test_wheel_imports_from_where_it_was_installed(site: Path, tmp_path: Path) -> None:
    program = "import gormpo_density, rl; print(gormpo_density.__file__, rl.__file__, sep='\\n')"
    printed = run("-c", program, cwd=tmp_path, PYTHONPATH=str(site)).splitlines()
    assert printed == [str(site / name / "__init__.py") for name in ("gormpo_density", "rl")]


@pytest.mark.parametrize(
    "args",
    [
        ["gormpo_density.train", "--help"],
        ["gormpo_density.train", "--config", "hopper.yaml", "--dry-run"],
        ["rl.train", "--config", "mopo/hopper.yaml", "--dry-run"],
    ],
)
def test_command_runs_far_from_the_checkout(args: list[str], site: Path, tmp_path: Path) -> None:
    assert run("-m", *args, cwd=tmp_path, PYTHONPATH=str(site))
