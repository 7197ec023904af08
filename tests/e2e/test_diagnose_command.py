"""`python -m rl.diagnose`: a finished run's penalties held against true errors."""

import json
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from gormpo_density import load_model
from gormpo_density.data.behaviour import mujoco_warnings_logged
from rl import diagnose, diagnosis_report, embedding, run, train

TINY = (
    *("--device=cpu", "--quiet", "--set", "model.num_layers=2", "--set", "model.hidden_dims=[8]"),
    *("--set", "fit.epochs=2", "--set", "dynamics.members=2", "--set", "dynamics.elites=2"),
    *("--set", "dynamics.hidden_dims=[16]", "--set", "dynamics.weight_decay=[0, 0]"),
    *("--set", "dynamics.epochs=3", "--set", "bc.steps=30", "--set", "fqe.steps=5"),
    *("--set", "fqe.regression_steps=5", "--set", "sac.epochs=2", "--set", "sac.hidden_dims=[8]"),
    *("--set", "sac.steps_per_epoch=5", "--set", "rollout.starts=50", "--set", "rollout.length=2"),
    *("--set", "evaluation.episodes=1", "--set", "evaluation.every=0"),
)
ENSEMBLE = ["mopo", "disagreement", "total_std"]
DENSITY = ["surprise", "density", "combination"]
POLICIES = ["clone", "clone_noise", "uniform", "policy"]


def write_pendulum(path: Path, n_episodes: int = 40, length: int = 20) -> Path:
    """Write episodes of the inverted pendulum under a noisy controller."""
    rng = np.random.default_rng(0)
    rows: dict[str, list[Any]] = {k: [] for k in ("obs", "action", "reward", "next_obs")}
    episode = []
    with mujoco_warnings_logged(), gym.make("InvertedPendulum-v5") as env:
        for number in range(n_episodes):
            obs, _ = env.reset(seed=number)
            for _ in range(length):
                action = np.clip(obs @ [1.0, 20.0, 1.5, 3.0] + rng.normal(size=1), -3, 3)
                next_obs, reward, terminated, *_ = env.step(action)
                step = (obs, action, reward, next_obs)
                for name, value in zip(rows, step, strict=True):
                    rows[name].append(value)
                episode.append(number)
                obs = next_obs
                assert not terminated
    np.savez(path, **{k: np.array(v) for k, v in rows.items()}, episode=episode)
    return path


@pytest.fixture(autouse=True)
def _few_states(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "MOST_STATES", 20)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_pendulum(tmp_path_factory.mktemp("data") / "pendulum.npz")


@pytest.fixture(scope="module")
def make_run(data, tmp_path_factory):
    """A function of further settings that gives the folder of a finished run."""

    def make(*settings: str) -> Path:
        path = tmp_path_factory.mktemp("runs") / "tiny"
        what = ("--data_path", str(data), "--set", "evaluation.env_id=InvertedPendulum-v5")
        with pytest.MonkeyPatch.context() as patch:  # its figures are beside the point
            patch.setattr(run, "write_mopo_report", lambda *_: None)
            assert train.main([*what, *TINY, "--run-dir", str(path), *settings]) == 0
        return path

    return make


@pytest.fixture(scope="module")
def finished(make_run) -> Path:
    return make_run()


@pytest.fixture
def own(finished, tmp_path) -> Path:
    """A copy of the finished run, to be changed."""
    return shutil.copytree(finished, tmp_path / "own")


@pytest.fixture
def call(capfd):
    """The command as a function of its arguments: exit code, lines out, lines of complaint."""

    def call(*args: object) -> tuple[int, list[str], list[str]]:
        capfd.readouterr()
        code = diagnose.main([str(arg) for arg in (*args, "--quiet", "--device", "cpu")])
        out, err = capfd.readouterr()
        return code, out.splitlines(), err.splitlines()

    return call


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save the time that figures take, where they are beside the point."""
    monkeypatch.setattr(diagnosis_report, "_figures", lambda *_: {})


def metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "diagnosis" / "metrics.json").read_text())


def test_every_penalty_is_measured_under_every_policy(own, call) -> None:
    before = {path: path.read_bytes() for path in own.rglob("*") if path.is_file()}
    code, out, err = call(own, "--starts", 30, "--horizon", 2)
    assert (code, err) == (0, [])
    found = metrics(own)
    assert found["starts"] == 30
    assert 30 * 4 < found["rows"] <= 30 * 4 * 2
    for penalty in (*ENSEMBLE, *DENSITY):
        for key in (penalty, *(f"{penalty}.{policy}" for policy in POLICIES)):
            assert -1 <= found[f"{key}.spearman"] <= 1
            assert 0 <= found[f"{key}.worst10_auroc"] <= 1
    assert (found["constant.spearman"], found["constant.worst10_auroc"]) == (None, 0.5)
    for name in ("combination_minus_total_std", "density_minus_total_std"):
        assert found[f"{name}_ci_low"] <= found[name] <= found[f"{name}_ci_high"]
    gain = found["combination.spearman"] - found["total_std.spearman"]
    assert found["combination_minus_total_std"] == pytest.approx(gain)
    assert out[1].split() == ["penalty", "all", *POLICIES]
    rows = [line.split()[0] for line in out[2:10]]
    assert rows == [*ENSEMBLE, *DENSITY, "(random)", "(constant)"]
    assert out[-1] == f"report: {own / 'diagnosis' / 'report.html'}"
    plots = sorted(path.name for path in (own / "diagnosis" / "plots").iterdir())
    assert plots == ["compounding.png", "tracking.png", "tsne.png", "values.png"]
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.usefixtures("without_figures")
def test_the_seed_decides_everything(own, call) -> None:
    found = []
    for seed in (0, 0, 1):
        assert call(own, "--starts", 10, "--horizon", 1, "--seed", seed)[0] == 0
        found.append(metrics(own))
    assert found[0] == found[1] != found[2]


@pytest.mark.usefixtures("without_figures")
def test_a_run_without_a_density_model_takes_one(make_run, finished, call) -> None:
    plain = make_run("--penalty", "total_std")
    code, out, _ = call(plain, "--starts", 10, "--horizon", 1)
    assert code == 0
    assert (
        out[0] == f"{plain} has no density model: penalties of the ensemble only (--density RUN)"
    )
    assert "combination.spearman" not in metrics(plain)
    assert "total_std.spearman" in metrics(plain)
    assert call(plain, "--density", finished, "--starts", 10, "--horizon", 1)[0] == 0
    assert "combination_minus_total_std" in metrics(plain)


@pytest.mark.usefixtures("without_figures")
def test_the_model_of_another_run_is_calibrated_on_this_ones_rows(
    finished, own, tmp_path, call, caplog
) -> None:
    """So u is what a run that names it has; of its own model, the same as without the flag."""
    few = ("--starts", 20, "--horizon", 1)
    assert call(finished, *few)[0] == 0
    expected = metrics(finished)
    model = load_model(own)
    rows = torch.randn(500, 5, generator=torch.Generator().manual_seed(0))
    model.calibrate(rows, alpha=0.4)
    model.save(tmp_path / "borrowed")
    assert call(finished, "--density", tmp_path / "borrowed", *few)[0] == 0
    found = metrics(finished)
    for name in ("surprise", "density", "combination"):
        assert found[f"{name}.spearman"] == pytest.approx(expected[f"{name}.spearman"], abs=1e-6)
    page = (finished / "diagnosis" / "report.html").read_text()
    assert f"The density model is that of {tmp_path / 'borrowed'}" in page
    config = own / "config.yaml"
    config.write_text(config.read_text().replace("seed: 0", "seed: 1", 1))
    assert call(finished, "--density", own, *few)[0] == 0
    assert "was trained on other splits (seed differ)" in caplog.text


def test_a_run_without_a_model_is_told_in_one_line(make_run, call) -> None:
    cloned = make_run("--algorithm", "bc")
    assert call(cloned) == (2, [], [f"{cloned} is a run of 'bc', which has no dynamics model"])


def test_what_is_no_finished_run_is_told_in_one_line(own, tmp_path, call) -> None:
    (own / "metrics.json").unlink()
    for path, problem in (
        (tmp_path / "nowhere", "is not a run folder: it has no config.yaml"),
        (own, "holds an unfinished run: it has no metrics.json"),
    ):
        assert call(path) == (2, [], [f"{path} {problem}"])


def test_parts_that_do_not_fit_are_told_in_one_line(own, data, tmp_path, call) -> None:
    policy = own / "policy" / "ema.safetensors"
    content = policy.read_bytes()
    shutil.copy(own / "model" / "model.safetensors", policy)
    expected = f"{policy}: not the policy of this run's configuration"
    assert call(own) == (2, [], [expected])
    policy.write_bytes(content)
    config = own / "config.yaml"
    narrow = tmp_path / "narrow.npz"
    with np.load(data) as arrays:
        cut = {k: v[:, :3] if "obs" in k else v for k, v in arrays.items()}
    np.savez(narrow, **cut)
    config.write_text(config.read_text().replace(str(data), str(narrow)))
    code, _, (problem,) = call(own)
    assert code == 2
    assert problem.endswith("are (3, 1) wide, those of the run's dynamics (4, 1)")


def test_an_environment_that_hides_its_state_is_told_in_one_line(own, call) -> None:
    config = own / "config.yaml"
    shown = "InvertedPendulum-v5"
    config.write_text(config.read_text().replace(shown, "InvertedDoublePendulum-v5"))
    code, _, (problem,) = call(own)
    assert code == 2
    assert "no termination rule is known for 'InvertedDoublePendulum-v5'" in problem
    config.write_text(config.read_text().replace("termination: auto", "termination: never"))
    problem = "the state of 'InvertedDoublePendulum-v5' cannot be set from its observations"
    assert call(own) == (2, [], [problem])


def test_wrong_numbers_are_told_in_one_line(own, call) -> None:
    for flags, problem in (
        (("--starts", 9), "a diagnosis needs at least 10 starts and a horizon of 1, got 9 and 8"),
        (
            ("--horizon", 0),
            "a diagnosis needs at least 10 starts and a horizon of 1, got 1000 and 0",
        ),
        (("--seed", -1), "the seed must be from 0 to 4294967295, is -1"),
        (("--starts", "many"), "argument --starts: invalid int value: 'many'"),
    ):
        assert call(own, *flags) == (2, [], [problem])


@pytest.mark.usefixtures("without_figures")
def test_a_penalty_of_paths_is_measured_as_the_run_used_it(make_run, call) -> None:
    small = ("history.beside=true", "history.length=6", "history.sequences=64")
    run_path = make_run(*(word for setting in small for word in ("--set", setting)))
    code, _, err = call(run_path, "--starts", 20, "--horizon", 2)
    assert (code, err) == (0, [])
    both = metrics(run_path)["surprise.spearman"]
    code, _, err = call(
        run_path, "--starts", 20, "--horizon", 2, "--density", run_path / "history"
    )
    assert (code, err) == (0, [])
    path_alone = metrics(run_path)["surprise.spearman"]
    code, _, err = call(run_path, "--starts", 20, "--horizon", 2, "--density", run_path / "model")
    assert (code, err) == (0, [])
    assert len({both, path_alone, metrics(run_path)["surprise.spearman"]}) == 3
