"""The recurrent autoencoder in float64, against loops over torch's cells and torch's normals."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from gormpo_density.models.recurrent_ae import RecurrentAE
from gormpo_density.models.shrunk_gaussian import ShrunkGaussian

T, D, H, B = 5, 2, 3, 4
LAYERS = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}
CELLS = {"gru": nn.GRUCell, "lstm": nn.LSTMCell, "rnn": nn.RNNCell}
KINDS = [(cell, layers) for cell in CELLS for layers in (1, 2)]


def model_of(cell="gru", num_layers=1, **params):
    return RecurrentAE((T, D), latent_dim=H, cell=cell, num_layers=num_layers, **params).double()


def windows(n=B, seed=0, shape=(T, D)):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, *shape)))


def encoder_cells(model):
    """The encoder's layers as cells of the same weights."""
    cells = []
    for layer in range(model.num_layers):
        cell = CELLS[model.cell](H if layer else D, H).double()
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        cell.load_state_dict(
            {name: getattr(model.encoder_net, f"{name}_l{layer}") for name in names}
        )
        cells.append(cell)
    return cells


def hidden(state):
    return state[0] if isinstance(state, tuple) else state


def advance(cells, states, x):
    for layer, cell in enumerate(cells):
        states[layer] = cell(x, states[layer])
        x = hidden(states[layer])
    return x


def by_hand(model, x, forced=None):
    """Encode and decode x with explicit loops; return the states and the reconstruction."""
    zero = x.new_zeros(len(x), H)
    start = (zero, zero) if model.cell == "lstm" else zero
    states = [start] * model.num_layers
    for t in range(T):
        advance(encoder_cells(model), states, x[:, t])
    encoded = list(states)
    rebuilt = torch.empty_like(x)
    rebuilt[:, T - 1] = model.output(hidden(states[-1]))
    for t in range(T - 2, -1, -1):
        fed = rebuilt if forced is None else forced
        rebuilt[:, t] = model.output(advance(model.decoder_cells, states, fed[:, t + 1]))
    return encoded, rebuilt


@pytest.mark.parametrize(("cell", "layers"), KINDS)
@torch.no_grad()
def test_the_reconstruction_is_the_papers_loop_over_cells(cell, layers):
    model, x = model_of(cell, layers), windows()
    states, rebuilt = by_hand(model, x)
    latent = model.encode(x)
    expected = [hidden(s) for s in states] + [s[1] for s in states if isinstance(s, tuple)]
    torch.testing.assert_close(latent, torch.cat(expected, 1))
    torch.testing.assert_close(model.decode(latent), rebuilt)


@pytest.mark.parametrize(("cell", "layers"), KINDS)
@torch.no_grad()
def test_teacher_forcing_is_one_pass_of_the_layer_over_the_reversed_window(cell, layers):
    model, x = model_of(cell, layers, teacher_forcing=True), windows()
    stacked = LAYERS[cell](D, H, layers, batch_first=True).double()
    for layer, weights in enumerate(model.decoder_cells):
        named = {f"{name}_l{layer}": w for name, w in weights.state_dict().items()}
        stacked.load_state_dict({**stacked.state_dict(), **named})
    _, state = model.encoder_net(x)
    outputs, _ = stacked(x.flip(1)[:, :-1], state)
    last = state[0][-1] if cell == "lstm" else state[-1]
    rebuilt = model.output(torch.cat([last[:, None], outputs], 1)).flip(1)
    forced = model.losses(x, torch.Generator())["loss"]
    torch.testing.assert_close(forced, (x - rebuilt).square().mean())


@torch.no_grad()
def test_teacher_forcing_is_for_training_only():
    model, x = model_of(teacher_forcing=True), windows()
    free = (x - model.decode(model.encode(x))).square().mean()
    torch.testing.assert_close(model.losses(x)["loss"], free)
    assert model.losses(x, torch.Generator())["loss"] != free
    model.teacher_forcing = False
    torch.testing.assert_close(model.losses(x, torch.Generator())["loss"], free)


@pytest.mark.parametrize(("cell", "layers"), KINDS)
@torch.no_grad()
def test_feeding_a_model_its_own_reconstruction_changes_nothing(cell, layers):
    model, x = model_of(cell, layers), windows()
    latent = model.encode(x)
    free = model.decode(latent)
    torch.testing.assert_close(model._rebuild(latent, free), free)


@torch.no_grad()
def test_the_first_step_that_is_emitted_is_the_last_of_the_window():
    """It comes from the encoder's state alone; the cells have a part in all others."""
    model, x = model_of(), windows()
    latent = model.encode(x)
    before = model.decode(latent)
    torch.testing.assert_close(before[:, -1], model.output(latent))
    for weights in model.decoder_cells.parameters():
        weights.mul_(2.0)
    after = model.decode(latent)
    assert torch.equal(after[:, -1], before[:, -1])
    assert (after[:, :-1] != before[:, :-1]).all()


@torch.no_grad()
def test_every_step_reaches_the_latent_and_order_matters():
    model, x = model_of(), windows()
    latent = model.encode(x)
    for t in range(T):
        other = x.clone()
        other[:, t] += 1.0
        assert (model.encode(other) != latent).any(1).all()
    assert not torch.allclose(model.encode(x.flip(1)), latent)


@pytest.mark.parametrize(("cell", "layers"), KINDS)
def test_a_batch_of_one_and_a_batch_of_none_keep_their_axes(cell, layers):
    model, x = model_of(cell, layers), windows()
    size = layers * H * (2 if cell == "lstm" else 1)
    assert model.encode(x[:1]).shape == (1, size)
    assert model.decode(model.encode(x[:1])).shape == (1, T, D)
    torch.testing.assert_close(model.log_prob(x[:1]), model.log_prob(x)[:1])
    assert model.log_prob(x[:0]).shape == (0,)


@pytest.mark.parametrize(("cell", "layers"), KINDS)
@pytest.mark.parametrize("loss", ["mse", "mae"])
@pytest.mark.parametrize("is_forced", [False, True])
def test_the_gradient_of_the_loss_reaches_every_parameter(cell, layers, loss, is_forced):
    model = model_of(cell, layers, loss=loss, teacher_forcing=is_forced)
    model.losses(windows(), torch.Generator())["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@torch.no_grad()
def test_an_rnn_has_the_nonlinearity_it_is_given():
    x = windows()
    tanh, relu = model_of("rnn"), model_of("rnn", nonlinearity="relu")
    assert (tanh.encode(x) < 0).any()
    assert (relu.encode(x) >= 0).all()
    assert relu.decoder_cells[0].nonlinearity == "relu"


# The pairwise term ------------------------------------------------------------------------


class ErrorIsTheWindow(RecurrentAE):
    """Rebuilds nothing, so the error of a window is the window."""

    def _errors(self, z, is_forced=False):
        return z


def loss_at(kind, normal, anomaly, lambda_auc=0.1):
    """Losses of two windows of this constant error beside one anomaly of that one."""
    model = ErrorIsTheWindow((T, D), loss=kind, lambda_auc=lambda_auc)
    model._labelled = {"val_anomalies": torch.full((1, T, D), anomaly)}
    return {k: v.item() for k, v in model.losses(torch.full((2, T, D), normal)).items()}


@pytest.mark.parametrize(("kind", "power"), [("mse_auc", 2), ("mae_auc", 1)])
def test_the_pairwise_loss_is_the_formula(kind, power):
    auc = 1 / (1 + np.exp(-(3.0**power - 0.5**power)))
    got = loss_at(kind, -0.5, 3.0, lambda_auc=0.2)
    assert got["reconstruction"] == pytest.approx(0.5**power)
    assert got["auc"] == pytest.approx(auc)
    assert got["loss"] == pytest.approx(0.5**power + 0.2 * (1 - auc))


@pytest.mark.parametrize("kind", ["mse_auc", "mae_auc"])
def test_separating_anomalies_lowers_the_loss(kind):
    losses = [loss_at(kind, 1.0, anomaly)["loss"] for anomaly in (0.0, 1.0, 2.0, 3.0)]
    assert (np.diff(losses) < 0).all()
    assert losses[1] == pytest.approx(1.0 + 0.1 / 2)  # no separation: half of the pairs


def test_all_pairs_count():
    model = ErrorIsTheWindow((1, 1), loss="mae_auc")
    normal, anomalies = torch.tensor([0.0, 1.0]), torch.tensor([0.5, 2.0, 5.0])
    model._labelled = {"val_anomalies": anomalies.reshape(-1, 1, 1)}
    pairs = [torch.sigmoid(a - n).item() for a in anomalies for n in normal]
    assert model.losses(normal.reshape(-1, 1, 1))["auc"].item() == pytest.approx(np.mean(pairs))


# The Gaussians of errors and latents ------------------------------------------------------


@torch.enable_grad()
def fitted(**params):
    model = model_of(**params)
    x = windows(300, 1)
    x[:, 1:] += 0.5 * x[:, :-1]
    model.fit(2.0 + 3.0 * x[:200], 2.0 + 3.0 * x[200:], epochs=2, batch_size=50)
    return model, 2.0 + 3.0 * x[200:]


@torch.no_grad()
def test_gaussian_nll_is_the_papers_density_of_the_errors_of_single_steps():
    model, x = fitted()
    errors = model.standardizer(x) - model.standardizer(model.decode(model.encode(x)))
    points = errors.flatten(0, 1)
    whitener = model.point_errors.whitener
    normal = MultivariateNormal(points.mean(0), precision_matrix=whitener.T @ whitener)
    expected = normal.log_prob(errors).sum(1)
    torch.testing.assert_close(model.score_samples(x, "gaussian_nll"), expected)
    plain = points.T.cov(correction=0)  # of 500 errors, so it is hardly shrunk
    torch.testing.assert_close(normal.covariance_matrix, plain, atol=0.1, rtol=0)


@torch.no_grad()
def test_window_nll_is_a_density_of_the_errors_of_whole_windows():
    model, x = fitted()
    errors = (model.standardizer(x) - model.standardizer(model.decode(model.encode(x)))).flatten(1)
    whitener = model.window_errors.whitener
    normal = MultivariateNormal(errors.mean(0), precision_matrix=whitener.T @ whitener)
    torch.testing.assert_close(model.score_samples(x), normal.log_prob(errors))
    torch.testing.assert_close(model.score_samples(x, "mse"), -errors.square().mean(1))
    torch.testing.assert_close(model.score_samples(x, "mae"), -errors.abs().mean(1))


@pytest.mark.parametrize(("cell", "layers"), KINDS)
@torch.no_grad()
def test_joint_nll_adds_the_density_of_the_latent(cell, layers):
    model, x = fitted(cell=cell, num_layers=layers)
    latent, whitener = model.encode(x), model.latents.whitener
    normal = MultivariateNormal(latent.mean(0), precision_matrix=whitener.T @ whitener)
    expected = model.score_samples(x) + normal.log_prob(latent)
    torch.testing.assert_close(model.score_samples(x, "joint_nll"), expected)


@pytest.mark.parametrize(("n", "dim"), [(2, 1), (3, 8), (40, 8), (5000, 2)])
def test_an_shrunk_gaussian_has_the_shrunk_covariance(n, dim):
    from sklearn.covariance import LedoitWolf

    errors = windows(n, shape=(dim,)) * torch.arange(1.0, dim + 1) + 5.0
    gaussian = ShrunkGaussian(dim).double()
    gaussian.fit(errors)
    expected = torch.from_numpy(LedoitWolf().fit(errors.numpy()).covariance_)
    expected += 1e-6 * torch.eye(dim)
    normal = MultivariateNormal(errors.mean(0), expected)
    torch.testing.assert_close(gaussian(errors), normal.log_prob(errors))


def test_values_that_never_vary_do_not_divide_by_zero():
    gaussian = ShrunkGaussian(3)
    gaussian.fit(torch.ones(10, 3))
    assert gaussian(torch.ones(2, 3)).isfinite().all()
    assert (gaussian(torch.tensor([[1.0, 1.0, 1.01]])) < gaussian(torch.ones(1, 3))).all()
