import json

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gormpo_density.errors import ModelFileError
from gormpo_density.persistence import load_tensors, save_tensors
from rl.config import DynamicsConfig
from rl.dynamics import EnsembleDynamics, load_dynamics

CONFIG = DynamicsConfig(
    members=4, elites=3, hidden_dims=(8,), weight_decay=(0.0, 0.0), batch_size=16, epochs=2
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed))


@pytest.fixture
def dynamics():
    """Each member adds its own number to the observation, and predicts it as the reward."""
    model = EnsembleDynamics(2, 1, CONFIG, seed=0)
    for weight, bias in zip(model.net.weights, model.net.biases, strict=True):
        weight.data.zero_()
        bias.data.zero_()
    model.net.biases[-1].data[:, 0, :3] = torch.arange(4.0)[:, None]
    model.net.biases[-1].data[:, 0, 3:] = -100.0  # log-variance: the lower bound
    model.elites.copy_(torch.tensor([0, 2, 3]))
    return model


def member_of(reward):
    """Tell which member of the fixture predicted a reward."""
    return reward.round().long()


# Predictions --------------------------------------------------------------------------------


def test_all_members_predict_next_observation_and_reward(dynamics):
    obs = randn(5, 2)
    mean, std = dynamics.predict(obs, randn(5, 1))
    assert mean.shape == std.shape == (4, 5, 3)
    for member in range(4):
        torch.testing.assert_close(mean[member, :, :2], obs + member)
        assert (mean[member, :, 2] == member).all()
    torch.testing.assert_close(std, torch.full((4, 5, 3), -5.0).exp())


@pytest.mark.parametrize("n_rows", [0, 1, 1024, 2500])
def test_a_prediction_does_not_depend_on_the_chunks_it_is_made_in(n_rows):
    model = EnsembleDynamics(2, 1, CONFIG, seed=0)
    obs, action = randn(n_rows, 2), randn(n_rows, 1)
    mean, std = model.predict(obs, action)
    assert mean.shape == std.shape == (4, n_rows, 3)
    torch.testing.assert_close(mean[:, -3:], model.predict(obs[-3:], action[-3:]).mean)
    torch.testing.assert_close(std[:, -3:], model.predict(obs[-3:], action[-3:]).std)


def test_the_mean_of_the_elites_leaves_the_others_out(dynamics):
    obs = randn(5, 2)
    next_obs, reward = dynamics.elite_mean(obs, randn(5, 1))
    torch.testing.assert_close(next_obs, obs + 5 / 3)
    torch.testing.assert_close(reward, torch.full((5,), 5 / 3))


def test_r2_is_one_for_the_truth_zero_for_the_mean_and_less_for_worse(dynamics):
    obs, action = randn(6, 2), randn(6, 1)
    change = torch.tensor([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])
    truth = 5 / 3
    next_obs = obs + torch.stack([change + truth, change + truth + 2], 1)
    r2 = dynamics.r2(obs, action, torch.full((6,), truth), next_obs)
    torch.testing.assert_close(r2, torch.tensor([0.0, -4.0, 1.0]), atol=1e-5, rtol=0)


def test_predicting_keeps_no_graph_and_leaves_the_global_random_state_alone(dynamics):
    before = torch.get_rng_state()
    obs, action = randn(5, 2), randn(5, 1)
    EnsembleDynamics(2, 1, CONFIG, seed=3)
    drawn = dynamics.sample(obs, action, generator())
    again = dynamics.sample_from(dynamics.predict(obs, action), generator())
    assert not any(part.requires_grad for part in (*drawn, *again))
    assert torch.equal(torch.get_rng_state(), before)


# Samples ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [0, 1, 2, 3, 7, 9])
@pytest.mark.parametrize("way", ["sample", "sample_from"])
def test_rows_keep_their_places_and_go_through_one_elite_each(dynamics, way, n_rows):
    obs, action = 10 * randn(n_rows, 2), randn(n_rows, 1)
    counts = torch.zeros(n_rows, 4)
    source = generator()
    for _ in range(300):
        if way == "sample":
            next_obs, reward = dynamics.sample(obs, action, source)
        else:
            next_obs, reward = dynamics.sample_from(dynamics.predict(obs, action), source)
        member = member_of(reward)
        torch.testing.assert_close(next_obs, obs + member[:, None], atol=0.05, rtol=0)
        counts[torch.arange(n_rows), member] += 1
    assert (counts[:, 1] == 0).all()
    assert (counts[:, [0, 2, 3]] - 100).abs().le(41).all()  # five standard deviations


def test_rows_are_dealt_evenly_to_the_elites(dynamics):
    reward = dynamics.sample(randn(99, 2), randn(99, 1), generator())[1]
    assert member_of(reward).bincount().tolist() == [33, 0, 33, 33]


def test_the_noise_of_a_row_and_of_a_column_is_its_own(dynamics):
    obs, action = torch.zeros(2000, 2), torch.zeros(2000, 1)
    next_obs, reward = dynamics.sample(obs, action, generator())
    noise = torch.cat([next_obs, reward[:, None]], 1) - member_of(reward)[:, None]
    correlation = torch.corrcoef(noise.T) - torch.eye(3)
    assert correlation.abs().max() < 0.1
    assert noise.unique(dim=0).shape == (2000, 3)


def test_the_same_generator_gives_the_same_samples(dynamics):
    obs, action = randn(9, 2), randn(9, 1)
    first, second, other = (dynamics.sample(obs, action, generator(s)) for s in (1, 1, 2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])


def test_sampling_computes_every_row_once_and_never_waits_for_the_device(dynamics):
    class Recorder(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.products, self.syncs = [], 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if func is torch.ops.aten.baddbmm.default:
                self.products.append(tuple(out.shape[:2]))
            waits = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
            self.syncs += func in waits
            return out

    obs, action = randn(30, 2), randn(30, 1)
    with Recorder() as recorder:
        dynamics.sample(obs, action, generator())
    assert recorder.products == [(3, 10), (3, 10)]
    assert recorder.syncs == 0


# Files --------------------------------------------------------------------------------------


def test_dynamics_come_back_whole(dynamics, tmp_path):
    """With their elites and the bounds of each member's variance."""
    with torch.no_grad():
        dynamics.net.min_log_var += torch.arange(4.0)[:, None, None]
        dynamics.units.target_mean += 1
    dynamics.save(tmp_path)
    loaded = load_dynamics(tmp_path)
    assert (loaded.obs_dim, loaded.action_dim, loaded.seed) == (2, 1, 0)
    assert loaded.config == CONFIG
    assert loaded.elites.tolist() == [0, 2, 3]
    obs, action = randn(5, 2), randn(5, 1)
    for found, expected in zip(
        loaded.predict(obs, action), dynamics.predict(obs, action), strict=True
    ):
        assert torch.equal(found, expected)


def test_a_run_folder_stands_for_its_dynamics(dynamics, tmp_path):
    dynamics.save(tmp_path / "dynamics")
    assert load_dynamics(str(tmp_path)).elites.tolist() == [0, 2, 3]


def test_the_configuration_is_there_for_people(dynamics, tmp_path):
    dynamics.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["elites"] == [0, 2, 3]
    assert config["dynamics"]["hidden_dims"] == [8]
    assert "run" not in config["dynamics"]


def test_nothing_to_load_is_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"no dynamics\.safetensors in it, nor in"):
        load_dynamics(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format version 99 cannot be read; this version reads 1"),
        ({"obs_dim": 3}, "cannot be built .*size mismatch"),
        ({"obs_dim": "x"}, "cannot be built"),
        ({"dynamics": {"members": -1}}, "cannot be built"),
        ({"dynamics": None}, "cannot be built"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(dynamics, tmp_path, change, message):
    dynamics.save(tmp_path)
    path = tmp_path / "dynamics.safetensors"
    tensors, config = load_tensors(path)
    save_tensors(path, tensors, config | change)
    with pytest.raises(ModelFileError, match=message) as error:
        load_dynamics(tmp_path)
    assert "\n" not in str(error.value)


def test_a_file_without_an_entry_is_refused(dynamics, tmp_path):
    dynamics.save(tmp_path)
    path = tmp_path / "dynamics.safetensors"
    tensors, config = load_tensors(path)
    del config["seed"], tensors["elites"]
    save_tensors(path, tensors, config)
    with pytest.raises(ModelFileError, match="cannot be built"):
        load_dynamics(tmp_path)
