"""What the report draws of synthetic rows: the one that was made from each series, if any was."""

import numpy as np
import torch

from gormpo_density import plots
from gormpo_density.augmentation.augmenter import Augmented
from gormpo_density.augmenting import report
from gormpo_density.augmenting.config import load_augment_config
from gormpo_density.augmenting.data import AugmentData
from gormpo_density.augmenting.report import write_augment_report
from gormpo_density.augmenting.results import AugmentResults, metrics_of
from gormpo_density.augmenting.training import make_latent_model, model_rows
from gormpo_density.runs import RunFolder
from gormpo_density.timeseries.labelled import LabelledSet

X = np.arange(6.0)[:, None] * np.ones(8) + np.sin(np.arange(8))
DATA = AugmentData(LabelledSet.of("a", X, [1, 1, 1, 1, 1, 2], X, [1, 1, 1, 1, 1, 2]))


def drawn_pairs(monkeypatch, tmp_path, drawn: Augmented):
    """Return what `plot_synthetic` is handed."""
    seen = {}
    draw = plots.plot_synthetic
    monkeypatch.setattr(
        report.plots,
        "plot_synthetic",
        lambda pairs, names: seen.update(pairs) or draw(pairs, names),
    )
    settings = ("data.dataset=shapes", "model.latent_dim=2", "model.hidden_dims=[4]")
    config = load_augment_config(None, settings)
    model = make_latent_model(config, DATA.shape, torch.device("cpu"))
    model.fit(model_rows(model, DATA.source.train_x), epochs=1)
    results = AugmentResults(model, {}, 0.0, {"noise": drawn})
    with RunFolder.open(tmp_path / "run", "") as run:
        write_augment_report(run, config, metrics_of(config, DATA, results), DATA, results)
    return {name: [rows[:, 0, 0].tolist() for rows in pair] for name, pair in seen.items()}


def made(y: list[int], source: list[int]) -> Augmented:
    x = 100 + np.arange(float(len(y)))[:, None, None] * np.ones((8, 1))
    return Augmented(x, np.array(y), np.array(source))


def test_each_series_stands_over_what_was_made_of_it(monkeypatch, tmp_path) -> None:
    found = drawn_pairs(monkeypatch, tmp_path, made([0] * 5 + [1], [4, 3, 2, 1, 0, 5]))
    assert found == {
        "class 1": [[0, 1, 3, 4], [104, 103, 101, 100]],
        "class 2": [[5], [105]],
    }


def test_rows_made_of_no_single_series_stand_in_turn(monkeypatch, tmp_path) -> None:
    found = drawn_pairs(monkeypatch, tmp_path, made([0, 0, 0], [-1, 4, -1]))
    assert found == {
        "class 1": [[0, 1, 3, 4], [100, 102, 101]],
        "class 2": [[5], []],
    }
