"""README and pages: the Python runs, the parsers know the commands, the links lead somewhere."""

import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from gormpo_density import GMM, evaluate, registry, sweep
from gormpo_density import augment as augmentation
from gormpo_density import detect as detection
from gormpo_density import train as density
from gormpo_density.compat import GormpoVAE
from gormpo_density.models import __main__ as models
from gormpo_density.sweep_grid import make_grid
from rl import diagnose
from rl import train as mopo

ROOT = Path(__file__).parents[2]
TAUGHT = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKING = [*TAUGHT, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
DRY_RUNS = {
    "gormpo_density.train": density.main,
    "gormpo_density.detect": detection.main,
    "gormpo_density.augment": augmentation.main,
    "rl.train": mopo.main,
}
PARSERS = {  # of commands that need a finished run
    "gormpo_density.evaluate": evaluate._parser,
    "gormpo_density.models": models._parser,
    "rl.diagnose": diagnose._parser,
}
GORMPO_FILES = {
    "configs/realnvp/hopper.yaml": "task: hopper-medium-v2\nnum_layers: 6\nepochs: 60\n",
    "configs/vae/gormpo_hopper.yaml": "task: hopper-medium-v2\nreward_penalty_coef: 0.5\n",
}


class Block(NamedTuple):
    page: str
    text: str


def blocks(language: str) -> list[Block]:
    """Every block of a language; one that stands on several pages counts once."""
    fence = re.compile(rf"```{language}\n(.*?)```", re.DOTALL)
    found = {text: page.name for page in TAUGHT for text in fence.findall(page.read_text())}
    return [Block(page, text) for text, page in found.items()]


def commands() -> list[tuple[str, str]]:
    lines = "\n".join(block.text for block in blocks("bash")).replace("\\\n", "")
    found = re.findall(r"^python -m (\S+)(.*?)(?:  #.*)?$", lines, re.MULTILINE)
    return list(dict.fromkeys((program, arguments.strip()) for program, arguments in found))


PYTHON = blocks("python")
COMMANDS = commands()


class Dynamics:
    """A model of the environment that steps as OfflineRL-Kit's."""

    def step(self, obs: np.ndarray, action: np.ndarray) -> tuple[Any, ...]:
        return obs, np.zeros((len(obs), 1)), np.zeros((len(obs), 1), bool), {}


def arrays() -> dict[str, Any]:
    """What the reader brings along: transitions and series of their own, and a model of them."""
    rng = np.random.default_rng(0)
    obs, action = rng.normal(size=(600, 3)), rng.uniform(-1, 1, size=(600, 2))
    rows = np.concatenate([obs, action], axis=1)
    series = np.sin(np.arange(4000) / 8) + 0.1 * rng.normal(size=4000)
    series[3500:3520] += 3
    return {
        "obs": obs,
        "action": action,
        "reward": np.zeros(50),
        "model_rows": rows[:50],
        "held_out": rows[400:],
        "model": fitted_model(rows),
        "series": series,
        "windows": np.sin(rng.uniform(0, 6, (40, 1)) + np.arange(24) / 4),
        "labels": np.arange(40) % 2,
        "dynamics": Dynamics(),
        "actor": None,
        "MOPOPolicy": lambda dynamics, *others: dynamics.step(obs, action),
        "TransitionModel": lambda *others, classifier: classifier["model"].predict(rows),
    }


def fitted_model(rows: np.ndarray) -> GMM:
    model = GMM(input_dim=rows.shape[1])
    model.fit(rows[:300], rows[300:400])
    model.calibrate(rows[400:])
    return model


def leave_files_of_the_reader(names: dict[str, Any], code: str, folder: Path) -> None:
    if "Monitor.load" in code:
        names["model"].save(folder / "runs" / "hopper-realnvp-seed0" / "model")
    if "load_gormpo_pair" in code:
        theirs = GormpoVAE(input_dim=5, latent_dim=2, hidden_dims=[8])
        theirs.restore(theirs.state_dict())
        theirs.save_model(folder / "models" / "hopper" / "vae")


def leave_configurations_of_the_reader(folder: Path) -> None:
    """Write the files of GORMPO that docs/coming_from_gormpo.md runs."""
    for name, text in GORMPO_FILES.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.page)
def test_python_blocks_run(block: Block, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.chdir(tmp_path)
    names = arrays()
    leave_files_of_the_reader(names, block.text, tmp_path)
    exec(re.sub(r"progress=True|epochs=\d+", "epochs=2", block.text), names)
    if "reward_for_model_rollout" in block.text:
        assert np.isfinite(names["reward_for_model_rollout"]).all()


@pytest.mark.parametrize(
    ("program", "arguments"), COMMANDS, ids=[" ".join(command) for command in COMMANDS]
)
def test_commands_are_understood(
    program: str, arguments: str, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    leave_configurations_of_the_reader(tmp_path)
    words = shlex.split(arguments)
    if program == "gormpo_density.sweep":
        program, words = first_run_of_sweep(words)
    if program in PARSERS:
        PARSERS[program]().parse(words)
    elif "--score" in words:
        detection._parser().parse(words)
    else:
        assert DRY_RUNS[program]([*words, "--dry-run"]) == 0
        assert "model:" in capsys.readouterr().out


def first_run_of_sweep(words: list[str]) -> tuple[str, list[str]]:
    """Return the first of the commands that a sweep runs, program and arguments."""
    args = sweep._parser().parse(words)
    settings = make_grid(args.settings)[0].overrides
    overrides = [word for setting in settings for word in ("--set", setting)]
    return args.program, ["--config", args.config, *overrides, "--seed", str(args.seeds[0])]


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", TAUGHT, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    own = r"`((?:configs|docs|examples|gormpo_density|rl|scripts|tests)/[\w./-]*)`"
    for name in re.findall(own, page.read_text()):
        assert (ROOT / name).exists(), name


def test_the_map_names_files_that_exist() -> None:
    for name in re.findall(r"`([\w*]+\.(?:py|sh|yaml))`", (ROOT / "docs" / "map.md").read_text()):
        assert any(ROOT.rglob(name)), name


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    for page in TAUGHT[1:]:
        assert f"(docs/{page.name})" in readme


def test_there_is_something_to_test() -> None:
    assert len(PYTHON) >= 8
    assert len(COMMANDS) >= 20
    assert {block.page for block in PYTHON} >= {"README.md", "mopo.md", "coming_from_gormpo.md"}
