import dataclasses
import json

import numpy as np
import pytest
import torch

from gormpo_density import density_run
from gormpo_density.config import ExportConfig, dump_config, load_config
from gormpo_density.density_data import load_density_data
from gormpo_density.density_run import fit_density, load_ood_sets, ood_base, run_density
from gormpo_density.errors import ConfigError, DataError, RunFolderError
from gormpo_density.fitting import Trainer
from gormpo_density.persistence import load_model
from gormpo_density.runs import RunFolder

CPU = torch.device("cpu")
SMALL = ("model.num_layers=2", "model.hidden_dims=[4]", "fit.epochs=2", "ood=[obs1, perm]")


@pytest.fixture(autouse=True)
def no_drawing(monkeypatch):
    """Figures are slow, and tested elsewhere."""
    monkeypatch.setattr(density_run, "write_density_report", lambda *_: None)


@pytest.fixture
def config(tmp_path):
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(400, 2))
    action = np.tanh(obs[:, :1] + 0.1 * rng.normal(size=(400, 1)))
    np.savez(tmp_path / "own.npz", obs=obs, action=action, episode=np.arange(400) // 10)
    return load_config(None, [f"data.data_path={tmp_path / 'own.npz'}", *SMALL])


@pytest.fixture
def data(config):
    return load_density_data(config.data, config.seed)


def run(config, path, **how):
    return run_density(config, path, device=CPU, progress=False, **how)


def metrics(path):
    return json.loads((path / "metrics.json").read_text())


def test_a_run_leaves_its_model_its_history_and_its_numbers(config, data, tmp_path) -> None:
    told = run(config, tmp_path / "run")
    found = metrics(tmp_path / "run")
    assert told.splitlines()[0] == f"test nll: {found['test_nll']:.3f}"
    assert told.splitlines()[-1] == f"report: {tmp_path / 'run' / 'report.html'}"
    assert {key: found[key] for key in ("dataset", "dataset_requested", "model", "seed")} == {
        **{"dataset": "own.npz", "dataset_requested": "own.npz", "model": "realnvp", "seed": 0}
    }
    assert {key: found[f"{key}_rows"] for key in data.rows} == {
        key: len(rows) for key, rows in data.rows.items()
    }
    assert found["test_episodes"] == data.n_episodes("test")
    model = load_model(tmp_path / "run")
    assert found["parameters"] == sum(p.numel() for p in model.parameters())
    assert found["test_nll"] == pytest.approx(-model.score_samples(data.rows["test"]).mean())
    assert model.threshold == found["threshold"]
    assert model.calibration.n_episodes == data.n_episodes("cal")
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 3


def test_a_finished_run_is_left_alone(config, tmp_path, monkeypatch) -> None:
    run(config, tmp_path / "run")
    monkeypatch.setattr(density_run, "load_density_data", None)
    told = run(config, tmp_path / "run")
    assert told.startswith(f"finished already: {tmp_path / 'run'} (--overwrite makes it again)\n")
    assert told.endswith("report.html")


def test_an_interrupted_run_is_resumed_to_the_same_numbers(config, tmp_path, monkeypatch) -> None:
    path = tmp_path / "run"

    def finished(self):
        if self.epoch == 1:
            raise KeyboardInterrupt
        return False

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "finished", property(finished))
        with pytest.raises(KeyboardInterrupt):
            run(config, path)
    with pytest.raises(RunFolderError, match="holds an unfinished run; --resume goes on"):
        run(config, path)
    run(config, path, resume=True)
    run(config, tmp_path / "whole")
    whole, resumed = metrics(tmp_path / "whole"), metrics(path)
    assert whole.pop("seconds") > 0
    assert resumed.pop("seconds") > 0
    assert whole == resumed


def test_bad_sets_are_told_before_training(config, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(density_run, "fit_density", None)
    bad = config.model_copy(update={"ood": ("obs1", "nowhere.npz")})
    with pytest.raises(DataError, match=r"nowhere\.npz: no such file"):
        run(bad, tmp_path / "run")


def test_copies_go_where_they_are_asked_for(config, data, tmp_path, monkeypatch) -> None:
    def draw(folder, *_):
        (folder.path / "plots").mkdir()
        (folder.path / "plots" / "scores.png").touch()

    monkeypatch.setattr(density_run, "write_density_report", draw)
    places = {"model_prefix": tmp_path / "a" / "flow", "plots": tmp_path / "b" / "c"}
    export = config.export.model_copy(update=places)
    run(config.model_copy(update={"export": export}), tmp_path / "run")
    model = load_model(tmp_path / "run")
    pair = type(model).load_model(tmp_path / "a" / "flow", hidden_dims=[4])
    assert pair["thr"] == model.threshold
    assert pair["mean"] == pytest.approx(model.score_samples(data.rows["train"]).mean(), abs=1e-4)
    assert [path.name for path in (tmp_path / "b" / "c").iterdir()] == ["scores.png"]


def test_a_model_is_fitted_on_training_rows_and_calibrated_on_its_own(
    config, data, tmp_path
) -> None:
    with RunFolder.open(tmp_path / "run", dump_config(config)) as folder:
        model, history = fit_density(config, data, folder, device=CPU, progress=False)
        assert folder.history.read() == {"epoch": [1.0, 2.0], **history}
    assert (tmp_path / "run" / "checkpoints" / "fit.safetensors").is_file()
    np.testing.assert_allclose(
        model.standardizer.mean.numpy(), data.rows["train"].mean(0), atol=1e-6
    )
    scores = np.sort(model.score_samples(data.rows["cal"]))
    np.testing.assert_array_equal(model.calibration.scores.numpy(), scores)
    assert model.calibration.alpha == 0.05


def test_sets_are_made_of_some_test_rows(config, data, monkeypatch) -> None:
    monkeypatch.setattr(density_run, "_OOD_ROWS", 15)
    base = ood_base(config, data)
    assert len(set(base)) == 15
    assert sorted(base) == list(base)
    assert base.tolist() == ood_base(config, data).tolist()
    assert base.tolist() != ood_base(config.model_copy(update={"seed": 1}), data).tolist()
    sets = load_ood_sets(("act1", "perm"), config, data)
    rows = data.rows["test"][base]
    np.testing.assert_array_equal(sets["act1"][:, :2], rows[:, :2])
    moved = np.abs(sets["act1"] - rows)[:, 2]
    np.testing.assert_allclose(moved, data.rows["train"].std(0)[2], rtol=1e-5)
    assert sorted(sets["perm"][:, 2]) == sorted(rows[:, 2])


def test_without_names_every_set_that_fits_is_made(config, data) -> None:
    assert "unif" in load_ood_sets(None, config, data)
    assert load_ood_sets((), config, data) == {}
    no_actions = dataclasses.replace(data, obs_dim=3, action_dim=0)
    assert next(iter(load_ood_sets(None, config, no_actions))).startswith("shift")
    with pytest.raises(ConfigError, match="'unif' needs actions"):
        load_ood_sets(("unif",), config, no_actions)


def test_another_file_is_a_set(config, data, tmp_path) -> None:
    np.savez(tmp_path / "other.npz", obs=np.ones((7, 2)), action=np.ones((7, 1)))
    name = str(tmp_path / "other.npz")
    assert load_ood_sets((name,), config, data)[name].tolist() == [[1, 1, 1]] * 6


def test_where_nothing_can_be_written_is_known_beforehand(tmp_path, monkeypatch) -> None:
    fine = ExportConfig(model_prefix=tmp_path / "new" / "folder" / "vae", plots=tmp_path)
    assert density_run.unwritable_exports(fine) == density_run.unwritable_exports(ExportConfig())
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(density_run.os, "access", lambda *_: False)
    assert density_run.unwritable_exports(fine) == [
        f"export.model_prefix: nothing can be written to {tmp_path / 'new' / 'folder'} "
        "(--model-save-path PATH names another)",
        f"export.plots: nothing can be written to {tmp_path} (--fig-save-path PATH names another)",
    ]
