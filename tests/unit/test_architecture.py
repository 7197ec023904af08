"""What may import what, and how large a file may be: the map in docs/map.md, held by a machine."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = sorted((ROOT / "gormpo_density").rglob("*.py"))
MOPO = sorted((ROOT / "rl").rglob("*.py"))
OTHERS = sorted(path for folder in ("scripts", "tests") for path in (ROOT / folder).rglob("*.py"))

SUPPORT = {
    *("config", "cli", "runs", "metrics", "plots", "report", "penalty", "errors", "data"),
    *(
        "aggregate",
        "checkpoints",
        "loggers",
        "persistence",
        "atomic",
        "registry",
        "fitting",
        "compat",
        "config_files",
        "flat_keys",
        "seeding",
    ),
}
DRAWING = {
    "plots",
    "report",
    "density_report",
    "diagnosis_plots",
    "diagnosis_report",
}
CATCH_ALL = {"utils.py", "common.py", "helpers.py"}
SLOW_TO_IMPORT = {"matplotlib", "sklearn", "minari", "gymnasium"}
MAX_LINES = 320


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(source: str, file: str) -> Iterator[str]:
    """Yield the dotted name of all that `source`, the text of `file`, imports at any depth.

    `from a import b` yields `a.b`, since only the tree of files knows whether b is a module.
    """
    package = Path(file).parent.parts
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def imports_of(path: Path) -> list[str]:
    return sorted(imports(path.read_text(encoding="utf-8"), relative(path)))


def is_within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def is_public(name: str) -> bool:
    """Tell whether rl/ may import this name of gormpo_density."""
    first = name.split(".")[1]
    is_module = any((ROOT / "gormpo_density" / entry).exists() for entry in (first, f"{first}.py"))
    return first in SUPPORT or not is_module


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("import a.b as c", ["a.b"]),
        ("from a.b import c, d", ["a.b.c", "a.b.d"]),
        ("from . import c", ["pkg.sub.c"]),
        ("from .b import c", ["pkg.sub.b.c"]),
        ("from ..b import c", ["pkg.b.c"]),
        ("def f():\n    if f:\n        import a", ["a"]),
    ],
)
def test_imports_resolves_every_form(statement: str, expected: list[str]) -> None:
    assert list(imports(statement, "pkg/sub/module.py")) == expected


@pytest.mark.parametrize("path", CORE, ids=relative)
def test_the_plugin_knows_nothing_of_rl(path: Path) -> None:
    assert [name for name in imports_of(path) if is_within(name, "rl")] == []


@pytest.mark.parametrize("path", MOPO, ids=relative)
def test_rl_uses_the_public_interface_and_the_support_modules(path: Path) -> None:
    ours = [name for name in imports_of(path) if name.startswith("gormpo_density.")]
    assert [name for name in ours if not is_public(name)] == []


def test_penalties_are_functions_of_tensors_that_know_no_model() -> None:
    # The registry finds other packages' penalties by name; it imports no model by itself.
    ours = {"gormpo_density.errors", "gormpo_density.registry"}
    allowed = {*sys.stdlib_module_names, "torch", "numpy", *ours}
    names = imports_of(ROOT / "gormpo_density" / "penalty.py")
    assert [name for name in names if not is_within(name, *allowed)] == []


@pytest.mark.parametrize("path", CORE + MOPO, ids=relative)
def test_matplotlib_stays_with_the_drawing_modules(path: Path) -> None:
    uses_matplotlib = any(is_within(name, "matplotlib") for name in imports_of(path))
    assert DRAWING & {path.stem, path.parent.name} or not uses_matplotlib


def test_importing_the_plugin_loads_nothing_slow() -> None:
    program = "import sys, gormpo_density; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert "gormpo_density" in loaded
    assert SLOW_TO_IMPORT.isdisjoint(loaded)


@pytest.mark.parametrize("path", CORE + MOPO + OTHERS, ids=relative)
def test_a_file_is_short_and_named_for_its_purpose(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_LINES
    assert path.name not in CATCH_ALL
