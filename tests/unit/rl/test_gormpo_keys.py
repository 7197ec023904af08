import logging
from pathlib import Path
from typing import Any

import pytest

from gormpo_density.config import FlatKeys
from gormpo_density.errors import ConfigError
from gormpo_density.gormpo_keys import DENSITY_KEYS
from rl.config import MOPOConfig, NoiseConfig, load_mopo_config
from rl.gormpo_keys import MOPO_KEYS, NOISE_DEFAULTS, NOISE_SWITCHES
from rl.train import mopo_parser

TASK = "hopper-medium-v2"

#: What a user of GORMPO's mopo.py may write, and what it is here.
MEANINGS: list[tuple[str, str, str, Any]] = [
    ("--data_path", "own.npz", "data.data_path", Path("own.npz")),
    ("--classifier_model_name", "runs/flow", "density", Path("runs/flow")),
    ("--dynamics-model-dir", "runs/1e6", "dynamics.run", Path("runs/1e6")),
    ("--dynamics-lr", "3e-4", "dynamics.lr", 3e-4),
    ("--n-ensembles", "8", "dynamics.members", 8),
    ("--n-elites", "3", "dynamics.elites", 3),
    ("--reward-penalty-coef", "0.3", "penalty.coef", 0.3),
    ("--rollout-batch-size", "50000", "rollout.starts", 50_000),
    ("--rollout-length", "3", "rollout.length", 3),
    ("--rollout-freq", "250", "rollout.frequency", 250),
    ("--model-retain-epochs", "7", "rollout.retain", 7),
    ("--epoch", "30", "sac.epochs", 30),
    ("--step-per-epoch", "500", "sac.steps_per_epoch", 500),
    ("--batch-size", "64", "sac.batch_size", 64),
    ("--real-ratio", "0.5", "sac.real_ratio", 0.5),
    ("--gamma", "0.9", "sac.gamma", 0.9),
    ("--tau", "0.01", "sac.tau", 0.01),
    ("--actor-lr", "1e-5", "sac.actor_lr", 1e-5),
    ("--critic-lr", "2e-5", "sac.critic_lr", 2e-5),
    ("--alpha-lr", "3e-5", "sac.alpha_lr", 3e-5),
    ("--target-entropy", "-3", "sac.target_entropy", -3.0),
    ("--eval_episodes", "100", "evaluation.episodes", 100),
    ("--threshold_percentile", "15", "calibration.alpha", 0.15),
    ("--alpha", "0.1", "sac.alpha", 0.1),
    ("--auto-alpha", "True", "sac.alpha", "auto"),
    ("--auto-alpha", "False", "sac.alpha", 0.2),
    *(
        ("--penalty_type", kind, "penalty.kind", kind)
        for kind in ("linear", "inverse", "exponential", "softplus", "tanh")
    ),
]


def value_at(config: MOPOConfig, path: str) -> Any:
    found: Any = config
    for name in path.split("."):
        found = getattr(found, name)
    return found


def from_flags(*words: str) -> MOPOConfig:
    return load_mopo_config(None, mopo_parser().parse(["--task", TASK, *words]).overrides)


def from_file(folder: Path, text: str, *settings: str) -> MOPOConfig:
    path = folder / "theirs.yaml"
    path.write_text(f"task: {TASK}\n{text}\n")
    return load_mopo_config(path, settings)


def problems_of_file(folder: Path, text: str, *settings: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as error:
        from_file(folder, text, *settings)
    return tuple(line.removeprefix(f"{folder}/") for line in error.value.problems)


@pytest.mark.parametrize(("flag", "word", "path", "value"), MEANINGS)
def test_a_flag_is_honoured(flag: str, word: str, path: str, value: Any) -> None:
    assert value_at(from_flags(flag, word), path) == value


@pytest.mark.parametrize(("flag", "word", "path", "value"), MEANINGS)
@pytest.mark.parametrize("dash", ["-", "_"])
def test_a_key_is_honoured(
    flag: str, word: str, path: str, value: Any, dash: str, tmp_path: Path
) -> None:
    key = flag.removeprefix("--").replace("-", dash).replace("_", dash)
    assert value_at(from_file(tmp_path, f"{key}: {word}"), path) == value


def test_every_key_that_is_accepted_is_tested() -> None:
    tested = {flag.removeprefix("--").replace("-", "_") for flag, *_ in MEANINGS}
    tested |= {"seeds", *NOISE_SWITCHES, *NOISE_DEFAULTS}
    assert tested == {*MOPO_KEYS.aliases, *MOPO_KEYS.translations}


@pytest.mark.parametrize("key", sorted(MOPO_KEYS.without_effect))
def test_what_has_no_effect_is_named(key: str, tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        plain = from_flags()
        assert from_flags(f"--{key}", "x") == plain
        assert from_file(tmp_path, f"{key}: x") == plain
    reason = MOPO_KEYS.without_effect[key]
    of_flag, note, of_key = caplog.messages
    assert of_flag == f"command line: {key} has no effect here: {reason}"
    assert note == f"{tmp_path}/theirs.yaml: {MOPO_KEYS.note}"
    assert of_key == f"{tmp_path}/theirs.yaml: {key} has no effect here: {reason}"


@pytest.mark.parametrize(
    ("words", "alpha"),
    [
        (["--alpha", "0.1", "--auto-alpha", "False"], 0.1),
        (["--auto_alpha=no", "--alpha=0.1"], 0.1),
        (["--alpha", "0.1", "--auto-alpha", "True"], "auto"),
    ],
)
def test_the_temperature_is_alpha_unless_it_is_learned(words, alpha, caplog) -> None:
    assert from_flags(*words).sac.alpha == alpha
    told = ["command line: alpha has no effect here: auto_alpha learns it"]
    assert caplog.messages == (told if alpha == "auto" else [])


def test_noise_is_that_of_a_switch(tmp_path: Path) -> None:
    words = ["--action", "--noise_rate_action", "0.5", "--scale_action", "0.01"]
    by_flags = from_flags(*words, "--transition", "--noise_rate_transition=1", "--loc", "0.2")
    assert by_flags.evaluation.noise == NoiseConfig(
        action_rate=0.5, action_scale=0.01, obs_rate=1, obs_scale=0.001, loc=0.2
    )
    text = "transition: True\nnoise-rate-transition: 1.0\nscale-transition: 0.005"
    assert from_file(tmp_path, text).evaluation.noise == NoiseConfig(obs_rate=1, obs_scale=0.005)
    assert from_file(tmp_path, "action: true").evaluation.noise == NoiseConfig(action_rate=0.01)
    outdone = from_file(tmp_path, text, "evaluation.noise.obs_scale=2", "scale_action=1")
    assert outdone.evaluation.noise == NoiseConfig(obs_rate=1, obs_scale=2)


def test_without_a_switch_there_is_no_noise(tmp_path: Path, caplog) -> None:
    config = from_file(tmp_path, "noise_rate_action: 0.5\nloc: 1\naction: false")
    assert config == from_flags()
    assert config.evaluation.noise is None
    _, *told = [message.partition(": ")[2] for message in caplog.messages]  # first: whose file
    assert told == [
        "loc has no effect here: there is no noise unless action or transition is true",
        "noise_rate_action has no effect here: there is no noise unless action is true",
    ]


def test_the_command_line_outdoes_the_file(tmp_path: Path) -> None:
    text = "threshold-percentile: 10\nepoch: 5\nauto-alpha: true\nseed: 4"
    settings = ["calibration.alpha=0.2", "epoch=6", "sac.alpha=0.3", "seed=9"]
    config = from_file(tmp_path, text, *settings)
    assert (config.calibration.alpha, config.sac.epochs) == (0.2, 6)
    assert (config.sac.alpha, config.seed) == (0.3, 9)


def test_a_files_seeds_are_a_seed_as_long_as_there_is_one(tmp_path: Path) -> None:
    assert from_file(tmp_path, "seeds: [3]").seed == 3
    assert from_file(tmp_path, "seeds: 3").seed == 3
    assert from_file(tmp_path, "seeds: [1, 2]", "seed=5").seed == 5
    assert problems_of_file(tmp_path, "seeds: [1, 2]") == (
        "theirs.yaml (seeds): a file describes one run; for several, --seeds 1 2",
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("auto_alpha: maybe", "theirs.yaml: auto_alpha must be true or false"),
        ("seeds: []", "theirs.yaml: seeds is empty; name one, or none at all"),
        (
            "threshold_percentile: 100",
            "theirs.yaml (threshold_percentile): calibration.alpha must be less than 1, is 1.0",
        ),
        (
            "threshold_percentile: high",
            "theirs.yaml (threshold_percentile): calibration.alpha must be a valid number, "
            'is "high"',
        ),
        (
            "reward-penalty-coef: 1\npenalty: {coef: 2}",
            "theirs.yaml: reward_penalty_coef and penalty.coef are the same; keep one",
        ),
        ("transition: maybe", "theirs.yaml: transition must be true or false"),
        ("rollout_lenght: 3", "theirs.yaml: rollout_lenght is unknown"),
    ],
)
def test_what_is_wrong_is_told_under_its_name(text: str, line: str, tmp_path: Path) -> None:
    (told,) = problems_of_file(tmp_path, text)
    assert told.startswith(line)


def test_a_policy_file_of_gormpo_resolves(tmp_path: Path, caplog) -> None:
    text = """
classifier_model_name: models/hopper_medium/realnvp
density_model: realnvp
algo-name: gormpo
reward-penalty-coef: 0.05
seed: 1
epoch: 1000
penalty_type: 'tanh'
rollout-length: 3
"""
    config = from_file(tmp_path, text)
    assert config.data.dataset == TASK
    assert config.density == Path("models/hopper_medium/realnvp")
    assert (config.penalty.name, config.penalty.kind) == ("density", "tanh")
    assert (config.penalty.coef, config.rollout.length, config.sac.epochs) == (0.05, 3, 1000)
    named = [message.split()[1] for message in caplog.messages[1:]]
    assert named == ["algo_name", "density_model"]


@pytest.mark.parametrize("keys", [MOPO_KEYS, DENSITY_KEYS], ids=["policy", "density"])
def test_every_key_is_on_the_page_for_people_who_come_from_gormpo(keys: FlatKeys) -> None:
    page = (Path(__file__).parents[3] / "docs" / "coming_from_gormpo.md").read_text()
    known = {*keys.aliases, *keys.without_effect, *keys.translations, *keys.in_files}
    assert [key for key in sorted(known) if f"`{key}`" not in page] == []
