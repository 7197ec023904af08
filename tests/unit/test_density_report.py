import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gormpo_density import density_report
from gormpo_density.config import load_config
from gormpo_density.density_data import load_density_data
from gormpo_density.density_report import summarise, write_density_report
from gormpo_density.density_run import load_ood_sets
from gormpo_density.evaluation import Evaluation, evaluate_density
from gormpo_density.registry import make_model

METRICS = {
    "test_nll_bound": 2.0,
    "false_alarm_rate": 0.05,
    "false_alarm_ci_low": 0.012,
    "false_alarm_ci_high": 0.1,
    "ood.obs0.5.roc_auc": 0.7,
    "ood.obs0.5.fpr95": 0.9,
    "ood.perm.roc_auc": 0.9,
}


def test_the_summary_has_the_score_the_false_alarms_and_the_mean_auroc() -> None:
    assert summarise(METRICS) == [
        ("test nll bound", 2.0),
        ("false alarms on test rows", "5.0% (95 % interval 1.2% to 10.0%)"),
        ("mean AUROC of 2 OOD sets", pytest.approx(0.8)),
    ]


def test_the_summary_of_a_run_without_sets_has_no_auroc() -> None:
    metrics = {key: value for key, value in METRICS.items() if not key.startswith("ood.")}
    assert [label for label, _ in summarise(metrics)] == [
        *("test nll bound", "false alarms on test rows")
    ]


@pytest.mark.parametrize(("sizes", "share"), [([10, 10], 0.25), ([10, 5], math.nan)])
def test_the_share_of_anomalies_is_told_where_all_sets_have_it(sizes, share) -> None:
    sets = {str(i): np.zeros(size) for i, size in enumerate(sizes)}
    evaluation = Evaluation({"test": np.zeros(30)}, sets, {})
    assert density_report._share(evaluation) == pytest.approx(share, nan_ok=True)


def test_few_of_many_sets_are_drawn_evenly_chosen() -> None:
    sets = {str(i): np.zeros((1, 1)) for i in range(15)}
    assert list(density_report._spread(sets)) == ["0", "7", "14"]
    assert list(density_report._spread({"a": sets["0"]})) == ["a"]
    assert density_report._spread({}) == {}


def test_columns_are_named_by_what_they_are() -> None:
    data = SimpleNamespace(obs_dim=2, action_dim=1, input_dim=5)
    names = ["obs 0", "obs 1", "action 0", "column 3", "column 4"]
    assert density_report._column_names(data) == names


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Return a function that reports on an untrained model, and gives the run and its figures."""
    figures = {}
    monkeypatch.setattr(
        density_report.plots, "save_figure", lambda figure, path: figures.update({path: figure})
    )
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", obs=rng.normal(size=(80, 2)), action=rng.normal(size=(80, 1)))

    def write(name, ood=("obs1", "perm"), requested=None, history=None, **params):
        config = load_config(
            None, [f"data.data_path={tmp_path / 'own.npz'}", f"model.name={name}"]
        )
        data = load_density_data(config.data, 0)
        model = make_model(name, input_dim=3, **params)
        model.fit(data.rows["train"], data.rows["val"], epochs=1)
        model.calibrate(data.rows["cal"], alpha=0.2)
        sets = load_ood_sets(ood, config, data)
        evaluation = evaluate_density(model, data, sets)
        facts = {"dataset": "own.npz", "dataset_requested": requested or "own.npz"}
        metrics = facts | {"cal_rows": 1234, "cal_episodes": 1} | evaluation.metrics
        run = SimpleNamespace(path=tmp_path)
        write_density_report(run, config, metrics, history or {}, model, data, evaluation, sets)
        names = [path.relative_to(tmp_path / "plots").stem for path in figures]
        return (tmp_path / "report.html").read_text(), names

    return write


SCORES = ["scores", "calibration"]
SETS = ["roc", "pr", "ood_levels"]
LATENT = ["latent", "reconstructions"]


def test_a_latent_model_is_shown_from_training_to_reconstructions(written) -> None:
    curves = {"train_loss": [2.0, 1.0], "val_loss": [2.0, 1.5]}
    page, names = written("vae", history=curves, latent_dim=2, hidden_dims=[4])
    assert names == ["training", *SCORES, *SETS, *LATENT]
    assert "1,234 rows of 1 episodes" in page
    assert page.count("<figure") == len(names)
    assert "(random score)" in page
    assert "data_path:" in page


def test_what_there_is_not_is_left_out(written) -> None:
    page, names = written("knn", ood=())
    assert names == SCORES
    assert "(random score)" not in page


def test_substituted_data_is_the_first_note(written) -> None:
    page, _ = written("knn", ood=(), requested="hopper-medium-v2")
    note = "hopper-medium-v2 is not on this machine: own.npz was used in its place."
    assert page.index(note) < page.index("The threshold aims at 5.0% false alarms.")


def test_points_that_are_not_finite_are_not_drawn(monkeypatch) -> None:
    model = make_model("realnvp", input_dim=2, num_layers=2, hidden_dims=[4])
    monkeypatch.setattr(model, "encode", lambda x: x)
    monkeypatch.setattr(model, "decode", lambda z: z)
    drawn = {}
    monkeypatch.setattr(density_report.plots, "plot_latent", drawn.update)
    monkeypatch.setattr(density_report.plots, "plot_reconstructions", lambda *_: None)
    rows = torch.tensor([[1.0, 2.0], [math.inf, 0.0]]).numpy()
    data = SimpleNamespace(rows={"test": rows}, obs_dim=2, action_dim=0, input_dim=2)
    density_report._latent_figures(model, data, {"far": rows})
    assert {name: points.tolist() for name, points in drawn.items()} == {
        "test": [[1.0, 2.0]],
        "far": [[1.0, 2.0]],
    }
