"""Which part is trained anew by which change of the configuration."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gormpo_density import GMM
from gormpo_density.compat import GormpoRealNVP
from gormpo_density.config import dump_config
from gormpo_density.errors import ConfigError, ModelFileError
from rl import density_parts
from rl import parts as parts_module
from rl.config import MOPOConfig, load_mopo_config
from rl.offline_data import load_offline_data
from rl.parts import Parts, row_kind_of
from rl.stages import Stages

CPU = torch.device("cpu")
BOUNDS = -torch.ones(1), torch.ones(1)
TINY = [
    *("bc.steps=2", "fqe.regression_steps=2", "fqe.steps=2", "sac.hidden_dims=[4]"),
    *("dynamics.members=2", "dynamics.elites=1", "dynamics.epochs=1"),
    *("dynamics.hidden_dims=[4]", "dynamics.weight_decay=[0, 0]"),
    *("model.num_layers=2", "model.hidden_dims=[4]", "fit.epochs=1"),
]


@pytest.fixture(scope="module")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(400, 2))
    path = tmp_path_factory.mktemp("data") / "own.npz"
    np.savez(
        path,
        obs=obs,
        action=np.tanh(rng.normal(size=(400, 1))),
        reward=rng.normal(size=400),
        next_obs=obs + 0.1,
        episode=np.repeat(np.arange(40), 10),
    )
    return path


def config_of(npz: Path, *settings: str) -> MOPOConfig:
    return load_mopo_config(None, [f"data.data_path={npz}", *TINY, *settings])


def parts_of(config: MOPOConfig, stages: Path) -> Parts:
    data = load_offline_data(config.data, config.seed, CPU, progress=False)
    return Parts(config, data, BOUNDS, Stages(stages), progress=False)


def make_all(parts: Parts) -> dict[str, Any]:
    clone = parts.clone()
    critic = parts.critic(clone)
    return {
        "clone": clone,
        "critics": critic,
        "dynamics": parts.dynamics(),
        "density": parts.density()[0],
    }


@pytest.fixture(scope="module")
def made(npz: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Stages with every part in them, and the parts."""
    stages = tmp_path_factory.mktemp("stages")
    return stages, make_all(parts_of(config_of(npz), stages))


def names(stages: Path) -> set[str]:
    return {path.name for path in stages.iterdir() if path.is_dir()}


def same(first: Any, second: Any) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def refuse(*args: Any, **options: Any) -> None:
    raise AssertionError("trained again")


def test_nothing_is_trained_twice(npz, made, monkeypatch) -> None:
    stages, parts = made
    monkeypatch.setattr(density_parts, "make_model", refuse)
    for trainer in ("clone_behaviour", "fit_critics", "EnsembleDynamics"):
        monkeypatch.setattr(parts_module, trainer, refuse)
    again = parts_of(config_of(npz), stages)
    for name, part in make_all(again).items():
        assert same(part, parts[name])
    assert len(names(stages)) == 4
    assert again.dynamics_history["val_loss"]


def test_parts_do_not_depend_on_the_global_generator(npz, made, tmp_path) -> None:
    torch.manual_seed(123)
    np.random.seed(5)  # noqa: NPY002  (the global state is the point)
    for name, part in make_all(parts_of(config_of(npz), tmp_path)).items():
        assert same(part, made[1][name]), name


ALL = {"clone", "critics", "dynamics", "density"}


@pytest.mark.parametrize(
    ("setting", "anew"),
    [
        ("penalty.coef=3", set()),
        ("penalty.name=none", set()),
        ("sac.epochs=7", set()),
        ("sac.kl=0.25", set()),
        ("sac.actor_lr=1e-3", set()),
        ("rollout.length=2", set()),
        ("evaluation.episodes=3", set()),
        ("calibration.alpha=0.2", set()),
        ("bc.steps=3", {"clone", "critics"}),
        ("sac.hidden_dims=[5]", {"clone", "critics"}),
        ("sac.gamma=0.9", {"critics"}),
        ("sac.tau=0.1", {"critics"}),
        ("sac.critic_lr=1e-3", {"critics"}),
        ("sac.batch_size=8", {"critics"}),
        ("fqe.steps=3", {"critics"}),
        ("dynamics.epochs=2", {"dynamics"}),
        ("dynamics.lr=1e-4", {"dynamics"}),
        ("model.num_layers=3", {"density"}),
        ("fit.lr=1e-4", {"density"}),
        ("data.rows=next_state_action", {"density"}),
        ("seed=1", ALL),
        ("data.val_ratio=0.2", ALL),
    ],
)
def test_a_change_trains_what_it_decides_and_nothing_else(npz, made, setting, anew) -> None:
    stages, _ = made
    before = names(stages)
    make_all(parts_of(config_of(npz, setting), stages))
    assert {name.partition("-")[0] for name in names(stages) - before} == anew


def test_the_threshold_is_at_the_level_of_this_configuration(npz, made) -> None:
    """Also where the density model is that of a run with another level."""
    stages, _ = made
    for alpha in (0.05, 0.25):
        parts = parts_of(config_of(npz, f"calibration.alpha={alpha}"), stages)
        model, _ = parts.density()
        flagged = model.predict_anomaly(parts.data.rows("state_action", "cal")).float().mean()
        assert flagged.item() == pytest.approx(alpha, abs=0.03)


def test_a_score_other_than_the_default_is_calibrated_too(npz, made) -> None:
    vae = ["model.name=vae", "model.latent_dim=2", "model.hidden_dims=[4]", "fit.epochs=1"]
    settings = [s for s in TINY if not s.startswith(("model.", "fit."))] + vae
    config = load_mopo_config(
        None, [f"data.data_path={npz}", *settings, "penalty.score=reconstruction"]
    )
    model, _ = parts_of(config, made[0]).density()
    assert "reconstruction" in model.calibrations


@pytest.mark.parametrize("old_alpha", [None, 0.4])
def test_a_named_density_model_is_calibrated_on_the_rows_of_this_run(
    npz, tmp_path, old_alpha
) -> None:
    """Whatever threshold it came with, or none."""
    rows = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    model = GMM(3, n_components=1)
    model.fit(rows)
    if old_alpha is not None:
        model.calibrate(rows, old_alpha)
    model.save(tmp_path / "model")
    settings = [f"density={tmp_path / 'model'}", "calibration.alpha=0.1"]
    parts = parts_of(config_of(npz, *settings), tmp_path / "stages")
    named, kind = parts.density()
    cal = parts.data.rows(kind, "cal")
    assert named.threshold == model.calibrate(cal, 0.1).threshold
    assert named.calibration.n_episodes == 4
    assert named.predict_anomaly(cal).float().mean().item() == pytest.approx(0.1, abs=0.03)


def test_what_a_borrowed_density_model_scores_is_known(tmp_path) -> None:
    """The run that borrowed it may itself be configured for other rows."""
    (tmp_path / "config.yaml").write_text("data: {rows: state_action}\n")
    assert row_kind_of(tmp_path) == "state_action"
    for kind, known in ((None, "state_action"), ("next_state_action", "next_state_action")):
        (tmp_path / "metrics.json").write_text(json.dumps({"density_rows": kind}))
        assert row_kind_of(tmp_path) == row_kind_of(tmp_path / "model") == known


def test_broken_files_of_a_borrowed_run_are_named(tmp_path) -> None:
    (tmp_path / "config.yaml").write_text("data: 3\n")
    assert row_kind_of(tmp_path) is None
    for text in ('{"density_rows": "st', "3"):
        (tmp_path / "metrics.json").write_text(text)
        with pytest.raises(ModelFileError, match=r"metrics\.json: not readable"):
            row_kind_of(tmp_path)


def test_a_pair_of_gormpos_scores_what_gormpo_fits_on(npz, tmp_path) -> None:
    theirs = GormpoRealNVP(3, num_layers=2, hidden_dims=[4])
    theirs.restore(theirs.state_dict())
    theirs.save_model(tmp_path / "realnvp")
    parts = parts_of(config_of(npz, f"density={tmp_path}/realnvp"), tmp_path / "stages")
    model, rows = parts.density()
    assert (type(model), rows) == (GormpoRealNVP, "next_state_action")
    expected = theirs.score_samples(parts.data.rows(rows, "cal")).sort().values
    assert torch.equal(model.calibration.scores, expected)


def test_named_parts_are_read_once(npz, made, tmp_path, monkeypatch) -> None:
    for name in ("dynamics", "density"):
        made[1][name].save(tmp_path / name)
    settings = [f"density={tmp_path / 'density'}", f"dynamics.run={tmp_path / 'dynamics'}"]
    parts = parts_of(config_of(npz, *settings), tmp_path / "stages")
    first = parts.dynamics(), parts.density()[0]
    for reader in ("load_model", "load_dynamics"):
        monkeypatch.setattr(parts_module, reader, refuse)
    assert (parts.dynamics(), parts.density()[0]) == first


def test_named_dynamics_are_reused(npz, made, tmp_path) -> None:
    made[1]["dynamics"].save(tmp_path / "run" / "dynamics")
    parts = parts_of(config_of(npz, f"dynamics.run={tmp_path / 'run'}"), tmp_path / "stages")
    assert same(parts.dynamics(), made[1]["dynamics"])
    assert not (tmp_path / "stages").exists()


def test_named_dynamics_must_be_of_the_datas_dimensions(made, tmp_path) -> None:
    made[1]["dynamics"].save(tmp_path)
    np.savez(tmp_path / "wide.npz", obs=np.zeros((40, 3)), action=np.zeros((40, 1)))
    config = config_of(tmp_path / "wide.npz", f"dynamics.run={tmp_path}")
    with pytest.raises(ConfigError) as caught:
        parts_of(config, tmp_path / "stages").dynamics()
    assert list(caught.value.problems) == [
        f"dynamics.run {tmp_path}: observations and actions are (2, 1) wide, "
        "those of wide.npz (3, 1)"
    ]


@pytest.mark.parametrize(("settings", "told"), [((), None), (("seed=7",), "seed")])
def test_named_dynamics_of_other_splits_are_told(npz, made, tmp_path, caplog, settings, told):
    """Its training rows would be among the rows that are held out here."""
    run = tmp_path / "run"
    made[1]["dynamics"].save(run / "dynamics")
    (run / "config.yaml").write_text(dump_config(config_of(npz)))
    parts_of(config_of(npz, f"dynamics.run={run}", *settings), tmp_path / "stages").dynamics()
    if told is None:
        assert caplog.messages == []
    else:
        (message,) = caplog.messages
        assert message.startswith(
            f"dynamics.run: {run} was trained on other splits ({told} differ"
        )
