import string
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from annotated_types import Ge, Gt
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gormpo_density import registry
from gormpo_density.config import (
    ConfigTree,
    DensityConfig,
    FlatKeys,
    RunConfig,
    Section,
    density_config,
    dump_config,
    load_config,
    resolve_config,
)
from gormpo_density.config_files import parse_yaml
from gormpo_density.errors import ConfigError

HOPPER = Path(__file__).parents[2] / "configs" / "hopper.yaml"


class Toy:
    """Stands for a plug-in: only its signatures are read."""

    def __init__(
        self,
        input_dim: int,
        width: Annotated[int, Ge(1)] = 64,
        num_layers: int = 2,
        beta: float = 1.0,
        device: str = "cpu",
    ) -> None: ...

    def fit(
        self,
        train_data: Any,
        val_data: Any = None,
        test_data: Any = None,
        *,
        epochs: Annotated[int, Ge(1)] = 10,
        lr: Annotated[float, Gt(0)] = 1e-3,
        beta: float | None = None,
        seed: int = 0,
        checkpoint: Path | None = None,
        on_epoch: Any = None,
        progress: bool = False,
    ) -> None: ...


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(registry._registered, "toy", Toy)


def resolve(text: str, *overrides: str, model: str | None = None) -> DensityConfig:
    return density_config(ConfigTree(parse_yaml(text, "f.yaml"), "f.yaml"), overrides, model)


def problems(text: str, *overrides: str, model: str | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as error:
        resolve(text, *overrides, model=model)
    return error.value.problems


TOY = "task: hopper-medium-v2\nmodel: {name: toy}\n"


def test_the_signatures_of_the_model_are_the_schema() -> None:
    config = resolve(TOY)
    assert config.model.name == "toy"
    assert config.model.params == {"width": 64, "num_layers": 2, "beta": 1.0}
    assert dict(config.fit) == {"epochs": 10, "lr": 1e-3}  # beta is the model's


def test_every_problem_is_told_with_file_and_path() -> None:
    text = """
    model: {name: toy, width: 0}
    fit: {lrr: 1, epochs: 2.5}
    seed: -1
    device: gpu
    calibration: {alpha: 1}
    data: {rows: pixels, val_ratio: no}
    ood: [perm, prem]
    """
    assert problems(text, "fit.lr=-1") == (
        "f.yaml: seed must be greater than or equal to 0, is -1",
        "f.yaml: device must match pattern '^(auto|cpu|cuda(:[0-9]+)?)$', is \"gpu\"",
        "f.yaml: data.rows must be 'state_action', 'next_state_action', 'state' or 'transition', "
        'is "pixels"',
        "f.yaml: data.val_ratio must be a valid number, is false",
        "f.yaml: model.width must be greater than or equal to 1, is 0",
        "f.yaml: fit.epochs must be a valid integer, is 2.5",
        "command line: fit.lr must be greater than 0, is -1",
        "f.yaml: fit.lrr is unknown, did you mean 'lr'?",
        "f.yaml: calibration.alpha must be less than 1, is 1",
        "f.yaml: ood.1 ood level 'prem' is unknown, did you mean 'perm'?",
    )


@pytest.mark.parametrize(
    ("setting", "value"), [("3e-4", 3e-4), ("1e-3", 1e-3), ("2", 2.0), ("1e6", 1e6)]
)
def test_yaml_numbers_with_exponents_are_numbers(setting: str, value: float) -> None:
    assert dict(resolve(f"{TOY}fit: {{lr: {setting}}}").fit)["lr"] == value
    assert dict(resolve(TOY, f"fit.lr={setting}").fit)["lr"] == value


def test_a_whole_number_may_be_written_with_an_exponent() -> None:
    assert dict(resolve(f"{TOY}fit: {{epochs: 1e6}}").fit)["epochs"] == 1_000_000


@pytest.mark.parametrize("word", ["no", "off", "yes", "true"])
def test_a_boolean_is_no_number(word: str) -> None:
    (line,) = problems(f"{TOY}fit: {{epochs: {word}}}")
    assert "fit.epochs must be a valid integer" in line
    assert len(problems(f"{TOY}fit: {{lr: {word}}}\nseed: {word}")) == 2


def test_an_unknown_model_does_not_hide_other_problems() -> None:
    text = "task: hopper-medium-v2\nmodel: {name: vea, depth: 3}\nfit: {lrr: 1}\nseed: x"
    assert problems(text) == (
        "f.yaml: model 'vea' is unknown, did you mean 'vae'?",
        'f.yaml: seed must be a valid integer, is "x"',
    )
    assert problems(TOY, model="vea") == (
        "command line: model 'vea' is unknown, did you mean 'vae'?",
    )


@pytest.mark.parametrize("value", ["toy", "3", "[toy]", "{name: 3}"])
def test_a_malformed_model_section_is_told(value: str) -> None:
    assert problems(f"task: hopper-medium-v2\nmodel: {value}")


def test_a_plug_in_whose_signature_cannot_be_read_is_told(monkeypatch) -> None:
    class Broken:
        def __init__(self, input_dim: int, x: "Missing" = 1) -> None: ...  # noqa: F821 - what is tested

    monkeypatch.setitem(registry._registered, "broken", Broken)
    (line,) = problems("task: hopper-medium-v2\nmodel: {name: broken}")
    assert line.startswith("f.yaml: ")
    assert "parameters cannot be read (name 'Missing' is not defined)" in line


def test_model_replaces_the_section_but_keeps_what_both_have() -> None:
    text = """
    task: hopper-medium-v2
    model: {name: realnvp, num_layers: 4, hidden_dims: [8]}
    fit: {epochs: 3, patience: 7}
    """
    config = resolve(text, model="toy")
    assert config.model.params == {"width": 64, "num_layers": 4, "beta": 1.0}
    assert dict(config.fit) == {"epochs": 3, "lr": 1e-3}


def test_settings_come_after_the_model() -> None:
    assert resolve(TOY, "model.width=3", "lr=1e-1", model="toy").model.params["width"] == 3


@pytest.mark.parametrize(
    ("text", "overrides", "dataset", "data_path"),
    [
        ("task: hopper-medium-v2", (), "hopper-medium-v2", None),
        ("task: x\ndata: {dataset: a/b}", (), "a/b", None),
        ("task: custom\ndata: {data_path: f.npz}", (), None, "f.npz"),
        ("task: x\ndata: {dataset: a/b}", ("task=y",), "y", None),
        ("task: x\ndata: {dataset: a/b}", ("data_path=f.npz",), None, "f.npz"),
        ("task: x\ndata: {data_path: f.npz}", ("data.dataset=a/b",), "a/b", None),
        ("task: x\ndata: {data_path: f.npz}", ("task=custom",), None, "f.npz"),
        ("task: x\ndata_path: f.npz", ("task=y",), "y", None),
        ("data: {dataset: a/b}", ("task=custom", "data_path=f.npz"), None, "f.npz"),
        ("data: {dataset: a/b}", ("seed=3",), "a/b", None),
    ],
)
def test_the_command_line_decides_which_data(text, overrides, dataset, data_path) -> None:
    data = resolve(text, *overrides).data
    assert (data.dataset, data.data_path) == (dataset, data_path and Path(data_path))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seed: 1", "f.yaml: no data: give data.dataset, data.data_path or a task"),
        ("task: custom", "f.yaml: task custom needs data.data_path (--data_path FILE)"),
        (
            "data: {dataset: a, data_path: b}",
            "f.yaml: data has both a dataset and a data_path; keep one",
        ),
        (
            "data: {dataset: a, val_ratio: .5, cal_ratio: .3, test_ratio: .2}",
            "f.yaml: data leaves nothing to train on: the three ratios sum to 1",
        ),
    ],
)
def test_what_contradicts_itself_is_told(text: str, line: str) -> None:
    assert problems(text) == (line,)


def test_a_path_may_start_at_home(monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    data = resolve("data: {data_path: ~/a.npz}").data
    assert data.data_path == Path("/home/ada/a.npz")


def test_a_config_is_looked_up_by_name_or_made_from_settings(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text('{"task": "hopper-medium-v2", "fit": {"lr": 1e-2}}')
    assert load_config("mine", model="toy") == load_config(
        None, ["task=hopper-medium-v2", "lr=0.01", "model.name=toy"]
    )


@pytest.mark.parametrize("name", ["hopper", "halfcheetah", "walker2d"])
def test_the_shipped_configs_resolve(name: str) -> None:
    config = load_config(HOPPER.with_name(f"{name}.yaml"))
    assert config.data.dataset == f"gormpo/{name}/medium-v0"
    assert config.model.name == "realnvp"
    assert config.calibration.alpha == 0.05
    assert config.ood


class Window(Section):
    size: int = 8


class WindowConfig(RunConfig):
    window: Window = Window()


def test_another_command_extends_the_sections_and_has_keys_of_its_own() -> None:
    keys = FlatKeys({"window_size": "window.size"}, {}, {})
    text = f"{TOY}window_size: 3\nfit: {{epochs: 2}}"
    values = parse_yaml(text, "f.yaml")
    config = resolve_config(
        ConfigTree(values, "f.yaml"), ["model.width=5"], None, WindowConfig, keys
    )
    assert isinstance(config, WindowConfig)
    assert (config.window.size, config.model.params["width"]) == (3, 5)
    with pytest.raises(ConfigError, match="lr is unknown, did you mean"):
        resolve_config(ConfigTree({"lr": 1}, "f.yaml"), [], "toy", WindowConfig, keys)


texts = st.text(string.printable, max_size=8) | st.from_regex(r"[0-9]e[0-9]", fullmatch=True)


@given(
    task=texts,
    seed=st.integers(0, 2**32 - 1),
    alpha=st.floats(1e-9, 1 - 1e-9),
    lr=st.floats(1e-300, 1e300),
    ood=st.none() | st.lists(st.sampled_from(["perm", "obs1", "a/b"]), max_size=3),
    path=texts,
)
@settings(derandomize=True, max_examples=100, deadline=None)
def test_a_dumped_config_loads_equal(task, seed, alpha, lr, ood, path) -> None:
    assume("\x00" not in path)
    values = {
        "task": task,
        "seed": seed,
        "data": {"dataset": "x", "data_dir": path},
        "model": {"name": "realnvp"},
        "fit": {"lr": lr},
        "calibration": {"alpha": alpha},
        "ood": ood,
    }
    config = density_config(ConfigTree(values, "here"))
    assert config.task == task
    assert resolve(dump_config(config)) == config


def lines_of(text: str) -> tuple[str, ...]:
    """Return the problems of a text; none when it resolves."""
    try:
        values = parse_yaml(text, "f.yaml")
        density_config(ConfigTree(values if isinstance(values, dict) else {}, "f.yaml"))
    except ConfigError as error:
        return error.problems
    return ()


@given(data=st.data())
@settings(derandomize=True, max_examples=200, deadline=None)
def test_a_damaged_file_never_gives_a_traceback(data) -> None:
    text = HOPPER.read_text()
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 5))
        noise = data.draw(st.text(string.printable + "&*!é\x00", max_size=4))
        text = text[:start] + noise + text[end:]
    assert all(line and "\n" not in line for line in lines_of(text))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
keys = st.sampled_from(
    ["task", "seed", "data", "model", "fit", "ood", "lr", "latent_dim", "name", "use_rl_data", "x"]
)


@given(st.dictionaries(keys, anything | st.dictionaries(keys, anything, max_size=3)))
@settings(derandomize=True, max_examples=200, deadline=None)
def test_wrong_values_never_give_a_traceback(values) -> None:
    assert all(line and "\n" not in line for line in lines_of(yaml.safe_dump(values)))
