import numpy as np
import pytest
import torch

from gormpo_density.config import ConfigTree, density_config
from gormpo_density.errors import ConfigError, DataError, GormpoDensityError
from gormpo_density.models.recurrent_ae import RecurrentAE

SHAPE = (12, 1)
FIT = {"epochs": 3, "batch_size": 32}


def sines(n, seed=0, period=6.0):
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, (n, 1))
    x = np.sin(2 * np.pi * np.arange(SHAPE[0]) / period + phase)
    return 10.0 + 4.0 * (x + 0.05 * rng.normal(size=x.shape))[..., None]


@pytest.mark.parametrize(
    ("params", "line"),
    [
        ({"cell": "grru"}, "cell must be one of gru, lstm, rnn, is 'grru'"),
        ({"loss": "MSE"}, "loss must be one of mse, mae, mse_auc, mae_auc, is 'MSE'"),
        ({"nonlinearity": "relu"}, "nonlinearity must be one of tanh, is 'relu'"),
        ({"cell": "rnn", "nonlinearity": "elu"}, "nonlinearity must be one of tanh, relu, is"),
    ],
)
def test_a_wrong_word_is_told(params, line):
    with pytest.raises(ConfigError, match=line):
        RecurrentAE(SHAPE, **params)


def test_all_wrong_words_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        RecurrentAE(SHAPE, cell="x", loss="y", nonlinearity="z")
    assert len(error.value.problems) == 3


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_it_learns_to_rebuild_and_tells_a_strange_window(cell):
    model = RecurrentAE(SHAPE, latent_dim=16, cell=cell)
    model.fit(sines(300), sines(60, 1), epochs=25, batch_size=50, lr=1e-2)
    normal, strange = sines(60, 2), sines(60, 3, period=3.0)
    assert -model.score_samples(normal, "mse").mean() < 0.5  # standardised: the mean gives 1
    for name in model.scores:
        assert model.score_samples(normal, name).min() > np.median(
            model.score_samples(strange, name)
        )
    model.calibrate(sines(60, 4))
    assert model.predict_anomaly(strange).mean() > 0.9


def test_layers_and_latents_have_the_sizes_asked_for():
    for num_layers in (1, 3):
        model = RecurrentAE((4, 2), latent_dim=5, num_layers=num_layers)
        assert model.encoder_net.num_layers == len(model.decoder_cells) == num_layers
        assert model.encode(torch.zeros(7, 4, 2)).shape == (7, 5 * num_layers)


def test_a_file_cannot_give_anomalies():
    values = {"task": "t", "model": {"name": "recurrent_ae"}, "fit": {"anomalies": 3}}
    with pytest.raises(ConfigError, match=r"fit\.anomalies is unknown"):
        density_config(ConfigTree(values, "a.yaml"))


def test_it_cannot_be_sampled_from():
    model = RecurrentAE(SHAPE, latent_dim=4)
    model.fit(sines(50), **FIT)
    with pytest.raises(GormpoDensityError, match="cannot be sampled"):
        model.sample(3)


def test_anomalies_and_loss_belong_together():
    with pytest.raises(ConfigError, match="loss 'mae_auc' needs anomalies"):
        RecurrentAE(SHAPE, loss="mae_auc").fit(sines(50), **FIT)
    with pytest.raises(ConfigError, match="loss 'mse' takes no anomalies"):
        RecurrentAE(SHAPE).fit(sines(50), anomalies=sines(5), **FIT)
    with pytest.raises(ConfigError, match="which only fit is given"):
        RecurrentAE(SHAPE, loss="mae_auc").losses(torch.zeros(3, *SHAPE))


@pytest.mark.parametrize(
    ("anomalies", "text"),
    [
        (sines(1), "1 anomalies are too few, 2 are needed"),
        (sines(5)[:, :3], "anomalies must have shape"),
        (np.full((4, *SHAPE), np.nan), "anomalies column 0, 0 row 0 is nan"),
    ],
)
def test_bad_anomalies_are_told(anomalies, text):
    with pytest.raises(DataError, match=text):
        RecurrentAE(SHAPE, loss="mse_auc").fit(sines(50), anomalies=anomalies, **FIT)


def test_two_validation_rows_are_needed():
    with pytest.raises(DataError, match="1 validation rows are too few, 2 are needed"):
        RecurrentAE(SHAPE).fit(sines(50), sines(1), **FIT)


class Watched(RecurrentAE):
    """Keeps the standardised anomalies it was trained with."""

    def losses(self, z, generator=None, progress=1.0):
        self.seen = dict(self._labelled)
        return super().losses(z, generator, progress)


def test_anomalies_are_standardised_as_the_rows_are_and_a_tenth_is_held_out():
    model, strange = Watched(SHAPE, latent_dim=4, loss="mse_auc"), sines(40, 3, period=3.0)
    train = sines(50)
    history = model.fit(train, sines(10, 1), anomalies=strange, **FIT)
    learnt, held_out = model.seen["anomalies"], model.seen["val_anomalies"]
    assert (len(learnt), len(held_out)) == (36, 4)
    expected = (strange - train.mean()) / train.std()
    both = torch.cat([learnt, held_out]).numpy()
    order, known = (np.argsort(a[:, 0, 0]) for a in (both, expected))
    np.testing.assert_allclose(both[order], expected[known], atol=1e-5)
    assert {"train_auc", "val_auc", "train_reconstruction", "val_reconstruction"} <= set(history)
    assert model._labelled == {}


def test_training_with_anomalies_separates_them():
    strange = sines(100, 3, period=4.5)
    separation = {}
    for loss, given in (("mse", None), ("mse_auc", strange)):
        model = RecurrentAE(SHAPE, latent_dim=16, loss=loss, lambda_auc=5.0)
        model.fit(sines(200), sines(60, 1), anomalies=given, epochs=20, batch_size=50, lr=1e-2)
        new = sines(60, 5, period=4.5)
        result = [model.score_samples(x, "mse").mean() for x in (sines(60, 2), new)]
        separation[loss] = result[0] - result[1]
    assert separation["mse_auc"] > 1.5 * separation["mse"]


def test_a_resumed_fit_with_anomalies_equals_an_uninterrupted_one(tmp_path):
    def fit(stop_at=None, checkpoint=None):
        def stop(epoch, row):
            if epoch == stop_at:
                raise KeyboardInterrupt

        model = RecurrentAE(SHAPE, latent_dim=4, loss="mae_auc")
        options = {"epochs": 4, "batch_size": 32, "anomalies": sines(20, 3)}
        model.fit(sines(50), sines(10, 1), on_epoch=stop, checkpoint=checkpoint, **options)
        return model

    whole, x, checkpoint = fit(), sines(5, 7), tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(stop_at=3, checkpoint=checkpoint)
    assert checkpoint.exists()
    resumed = fit(checkpoint=checkpoint)
    np.testing.assert_array_equal(resumed.score_samples(x), whole.score_samples(x))
