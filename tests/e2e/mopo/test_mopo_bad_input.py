"""What `python -m rl.train` refuses, and that it says so in one line."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gormpo_density import GMM
from gormpo_density.config import dump_config
from rl.config import DynamicsConfig
from rl.dynamics import EnsembleDynamics


@pytest.fixture
def refused(config_of, train, tmp_path: Path):
    """A function of settings for which the command must give up; it returns its complaint."""

    def refuse(*settings: str) -> str:
        (tmp_path / "line.yaml").write_text(dump_config(config_of()))
        flags = [flag for setting in settings for flag in ("--set", setting)]
        where = ["--run-dir", tmp_path / "run", "--stages", tmp_path / "stages"]
        code, lines = train("--config", tmp_path / "line.yaml", *flags, *where)
        assert code == 2
        assert len(lines) == 1, lines
        return lines[0]

    return refuse


def trained_parts(stages: Path) -> list[str]:
    return [path.name for path in stages.iterdir()] if stages.exists() else []


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (
            ["evaluation.env_id=point_mass:WidePointMass-v0"],
            "has observation space Box(2,), the data's observations have 1 entries",
        ),
        (["evaluation.env_id=Nowhere-v0"], "environment 'Nowhere-v0' cannot be made"),
        (["evaluation.env_id=null"], "line.npz does not say its environment"),
        (["rollout.starts=1000000"], "rollout.starts is 1000000, but there are only 2"),
        (["rollout.termination=auto"], "no termination rule is known for"),
        (["rollout.termination=nowhere:rule"], "'nowhere:rule' cannot be imported"),
        (["rollout.termination=math:sin"], "rule 'math:sin' fails on rows of line.npz: "),
        (["rollout.termination=Hopper"], "termination rule 'Hopper' fails on rows of line.npz: "),
        (["rollout.termination=builtins:zip"], "must return a bool tensor of shape (2,), got zip"),
        (["data.rows=transition"], "data.rows 'transition' cannot be scored in a rollout"),
        (["penalty.coef=-1"], "penalty.coef"),
        (
            ["penalty.name=disagreement", "dynamics.members=1", "dynamics.elites=1"],
            "penalty 'disagreement' needs two members of the ensemble, there is one",
        ),
        (["penalty.score=elbo"], "score 'elbo' is unknown; choose from log_prob"),
        (["penalty.kind=cubic"], "penalty.kind must be one of linear, tanh"),
        (["penalty.kind=nowhere:f"], "penalty.kind penalty 'nowhere:f' cannot be imported"),
        (
            ["history.beside=true", "history.length=1000"],
            "no episode has the 1000 rows that a sequence model is fitted on",
        ),
        (["data.input_dim=5"], "data.input_dim is 5, but line.npz has 2"),
    ],
)
def test_it_is_told_before_anything_is_trained(refused, tmp_path, settings, complaint) -> None:
    assert complaint in refused(*settings)
    assert trained_parts(tmp_path / "stages") == []


def test_data_with_a_nan_is_refused(refused, line, tmp_path) -> None:
    with np.load(line) as archive:
        arrays = dict(archive)
    arrays["reward"][17] = np.nan
    np.savez(tmp_path / "bad.npz", **arrays)
    assert "bad.npz: reward" in refused(f"data.data_path={tmp_path / 'bad.npz'}")


def test_data_without_rewards_is_refused(refused, line, tmp_path) -> None:
    with np.load(line) as arrays:
        np.savez(tmp_path / "free.npz", **{k: v for k, v in arrays.items() if k != "reward"})
    complaint = refused(f"data.data_path={tmp_path / 'free.npz'}")
    assert complaint == "free.npz: every reward is 0, so there is nothing to learn from"
    assert trained_parts(tmp_path / "stages") == []


def test_dynamics_of_other_dimensions_are_refused(refused, tmp_path) -> None:
    config = DynamicsConfig(members=2, elites=1, hidden_dims=(4,), weight_decay=(0.0, 0.0))
    EnsembleDynamics(3, 1, config, seed=0).save(tmp_path / "other" / "dynamics")
    complaint = refused(f"dynamics.run={tmp_path / 'other'}")
    assert "observations and actions are (3, 1) wide, those of line.npz (1, 1)" in complaint


def density_run(path: Path, width: int, rows: str = "state_action") -> str:
    """Save a density model as a run would, and return the setting that names it."""
    model = GMM(width, n_components=1)
    model.fit(torch.randn(100, width))
    model.save(path / "model")
    (path / "config.yaml").write_text(f"data: {{rows: {rows}}}\n")
    return f"density={path}"


def test_density_models_that_do_not_fit_are_refused(refused, tmp_path) -> None:
    wide = density_run(tmp_path / "wide", 5)
    assert "scores rows of shape (5,); state and action are 1 + 1 = 2 wide" in refused(wide)
    other = density_run(tmp_path / "other", 2, rows="state")
    assert "the density model was fitted on 'state'" in refused(other)
    narrow = density_run(tmp_path / "narrow", 2)
    assert "score 'elbo' is unknown" in refused(narrow, "penalty.score=elbo")
    assert trained_parts(tmp_path / "stages") == []


def test_a_rule_of_the_users_that_is_wrong_is_named(refused, tmp_path) -> None:
    complaint = refused("rollout.termination=point_mass:rows_are_ends")
    assert complaint.startswith(
        "termination rule 'point_mass:rows_are_ends' must return a bool tensor of shape (2,), got"
    )
    assert trained_parts(tmp_path / "stages") == []


def test_resuming_with_another_configuration_is_refused(train, finished, config_of, tmp_path):
    (tmp_path / "other.yaml").write_text(dump_config(config_of("sac.gamma=0.8")))
    args = ["--config", tmp_path / "other.yaml", "--run-dir", finished.path, "--resume"]
    code, (complaint,) = train(*args)
    assert code == 2
    assert "(sac.gamma: 0.9 there, 0.8 now); --overwrite replaces it" in complaint
