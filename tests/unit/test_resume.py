"""Checkpoints: a killed run ends as if it had not been."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from gormpo_density.errors import FitError, ModelFileError
from gormpo_density.fitting import FitOptions, Hooks, Trainer
from gormpo_density.models.realnvp import RealNVP
from gormpo_density.models.vae import VAE
from gormpo_density.persistence import save_tensors

OPTIONS = FitOptions(
    epochs=5,
    batch_size=5,
    lr=0.1,
    weight_decay=0.1,
    noise=0.1,
    grad_clip=5.0,
    patience=9,
    seed=0,
)


class Mean(nn.Module):
    """Learns the mean of the rows in noise that grows less; its first parameter is idle."""

    def __init__(self, width=2):
        super().__init__()
        self.idle = nn.Parameter(torch.ones(3))
        self.mu = nn.Parameter(torch.zeros(width))
        self.late = nn.Parameter(torch.zeros(2))

    def losses(self, z, generator=None, progress=1.0):
        if generator is not None:
            z = z + (1 - progress) * torch.randn(z.shape, generator=generator)
        return {"loss": (z - self.mu - self.late**2).square().mean()}


def rows(n=20, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)) + 3


def trainer(model=None, splits=None, **options):
    splits = splits or {"train": rows(), "val": rows(7, 1)}
    return Trainer(model or Mean(), splits, replace(OPTIONS, **options))


class Kill(Exception):
    pass


def killing(at):
    def on_epoch(epoch, row):
        if epoch == at:
            raise Kill

    return on_epoch


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_killed_run_resumes_bit_for_bit(at, tmp_path):
    uninterrupted = trainer()
    history = uninterrupted.run(Hooks())
    with pytest.raises(Kill):
        trainer().run(Hooks(tmp_path / "checkpoint", killing(at)))
    resumed, seen = trainer(), []
    again = resumed.run(Hooks(tmp_path / "checkpoint", lambda epoch, row: seen.append(epoch)))
    assert again == history
    assert seen == list(range(at, 6))
    for name, value in uninterrupted.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def test_a_finished_run_is_not_trained_again(tmp_path):
    path, seen = tmp_path / "checkpoint", []
    first = trainer(patience=1)
    history = first.run(Hooks(path))
    second = trainer(patience=1)
    assert second.run(Hooks(path, lambda *args: seen.append(args))) == history
    assert seen == []
    assert torch.equal(second.model.mu, first.model.mu)


@pytest.mark.parametrize(
    "other",
    [
        {"lr": 0.2},
        {"epochs": 9},
        {"splits": {"train": rows(21), "val": rows(7, 1)}},
        {"splits": {"train": rows(seed=9), "val": rows(7, 1)}},
        {"splits": {"train": rows(), "val": rows(7, 1), "test": rows()}},
        {"model": nn.ModuleList([Mean()])},
        {"model": Mean(width=1)},
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused(other, tmp_path):
    path = tmp_path / "checkpoint"
    trainer(epochs=2).run(Hooks(path))
    before = path.read_bytes()
    with pytest.raises(FitError, match="checkpoint: checkpoint of another configuration"):
        trainer(**{"epochs": 2, **other}).run(Hooks(path))
    assert path.read_bytes() == before


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "checkpoint"
    save_tensors(path, {"x": torch.zeros(2)}, {"format_version": 1})
    with pytest.raises(FitError, match="checkpoint of another"):
        trainer().run(Hooks(path))
    path.write_bytes(b"nonsense")
    with pytest.raises(ModelFileError, match="not a readable"):
        trainer().run(Hooks(path))


MODELS = {
    "realnvp": lambda **params: RealNVP(2, num_layers=2, hidden_dims=[8], **params),
    "vae": lambda **params: VAE(2, latent_dim=2, hidden_dims=[8], **params),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_density_model_resumes_bit_for_bit(name, tmp_path):
    options = {"epochs": 4, "batch_size": 16, "noise": 0.1, "seed": 3}
    uninterrupted, resumed = MODELS[name](), MODELS[name]()
    history = uninterrupted.fit(rows(100), **options)
    with pytest.raises(Kill):
        resumed.fit(rows(100), checkpoint=tmp_path / "checkpoint", on_epoch=killing(3), **options)
    resumed = MODELS[name]()
    assert resumed.fit(rows(100), checkpoint=str(tmp_path / "checkpoint"), **options) == history
    for score in resumed.scores:
        scores = [model.score_samples(rows(30, 1), score) for model in (resumed, uninterrupted)]
        assert torch.equal(*scores)


def test_parameters_that_no_weight_shows_are_part_of_the_configuration(tmp_path):
    MODELS["vae"]().fit(rows(100), epochs=1, checkpoint=tmp_path / "checkpoint")
    with pytest.raises(FitError, match="checkpoint of another configuration"):
        MODELS["vae"](beta=4.0).fit(rows(100), epochs=1, checkpoint=tmp_path / "checkpoint")


@pytest.mark.parametrize("other", [rows(100, 5), 4 * rows(100)])
def test_a_checkpoint_of_other_rows_of_the_same_shape_is_refused(other, tmp_path):
    MODELS["realnvp"]().fit(rows(100), epochs=1, checkpoint=tmp_path / "checkpoint")
    with pytest.raises(FitError, match="or other data"):  # 4 x standardises to the bits of x
        MODELS["realnvp"]().fit(other, epochs=1, checkpoint=tmp_path / "checkpoint")
