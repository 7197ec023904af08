import math

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from gormpo_density.data.transitions import DatasetInfo
from gormpo_density.errors import DataError, FitError
from gormpo_density.fitting import Hooks
from gormpo_density.persistence import load_tensors
from rl.config import DynamicsConfig
from rl.dynamics import EnsembleDynamics
from rl.dynamics_training import DynamicsTrainer
from rl.offline_data import OfflineData

OPTIONS = {
    "members": 3,
    "elites": 2,
    "hidden_dims": (8,),
    "weight_decay": (0.0, 0.0),
    "batch_size": 8,
    "epochs": 4,
}
CURVES = {"train_loss", "val_loss", "val_mse_obs", "val_mse_reward", "active_members"}


def config(**options):
    return DynamicsConfig(**{**OPTIONS, **options})


def transitions(n=40, n_val=10, obs_dim=2, action_dim=1):
    """A noisy linear system whose first rows are held out; the first action tells the row."""
    source = torch.Generator().manual_seed(0)
    obs = torch.randn(n, obs_dim, generator=source)
    action = torch.randn(n, action_dim, generator=source)
    action[:, 0] = torch.arange(float(n))
    noise = torch.randn(n, obs_dim, generator=source)
    rows = torch.arange(n)
    empty = rows[:0]
    return OfflineData(
        *(obs, action, obs.sum(1), 0.9 * obs + 0.1 * noise),
        terminated=torch.zeros(n, dtype=torch.bool),
        episode=rows // 5,
        splits={"train": rows[n_val:], "val": rows[:n_val], "cal": empty, "test": empty},
        info=DatasetInfo("made", "arrays"),
    )


def untrained(seed=0, obs_dim=2, action_dim=1, **options):
    return EnsembleDynamics(obs_dim, action_dim, config(**options), seed=seed)


def trainer(data=None, **options):
    data, model = data or transitions(), untrained(**options)
    model.units.fit(data.obs, data.action, data.reward, data.next_obs, rows=data.splits["train"])
    return DynamicsTrainer(model.net, model.units, data, model.config, model.seed)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


# What a run does ----------------------------------------------------------------------------


def test_training_lowers_the_loss_and_says_so_every_epoch():
    model, seen = untrained(epochs=30, lr=0.02), []
    history = model.fit(transitions(), on_epoch=lambda epoch, row: seen.append((epoch, row)))
    assert set(history) == CURVES
    assert history["train_loss"][-1] < history["train_loss"][0] - 0.5
    assert history["val_mse_obs"][-1] < history["val_mse_obs"][0]
    assert [epoch for epoch, _ in seen] == list(range(1, len(seen) + 1))
    for name, curve in history.items():
        assert [row[name] for _, row in seen] == curve


def test_each_member_sees_every_training_row_once_an_epoch_in_an_order_of_its_own():
    """So no held-out row is seen, wherever it stands in the file."""
    run, batches = trainer(epochs=2), []
    run.net.register_forward_pre_hook(
        lambda net, args: batches.append(args[0]) if torch.is_grad_enabled() else None
    )
    run.run(Hooks())
    assert [tuple(x.shape[:2]) for x in batches] == [(3, 8), (3, 8), (3, 8), (3, 6)] * 2
    x = torch.cat(batches, 1) * run.units.input_scale + run.units.input_mean
    orders = [*x[:, :30, 2].round().long(), *x[:, 30:, 2].round().long()]
    for order in orders:
        assert order.sort().values.tolist() == list(range(10, 40))
    assert len({tuple(order.tolist()) for order in orders}) == 6


def test_units_come_from_training_rows_only():
    data, model = transitions(), untrained(epochs=1)
    data.obs[:10] += 1e6
    model.fit(data)
    torch.testing.assert_close(model.obs_std, data.obs[10:].std(0, correction=0))


def test_the_next_observation_is_that_of_the_data_never_the_following_row():
    """Episodes of one row each: all that is learnt is in next_obs."""
    data = transitions()
    data.next_obs.copy_(data.obs + 1)
    model = untrained(epochs=1)
    model.fit(data)
    next_obs, _ = model.elite_mean(data.obs, data.action)
    torch.testing.assert_close(next_obs, data.obs + 1)


def test_the_learning_rate_falls_along_a_half_cosine():
    run, rates = trainer(epochs=5, patience=99), []
    run.optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates.extend({g["lr"] for g in optimizer.param_groups})
    )
    run.run(Hooks())
    expected = [0.5 * (1 + math.cos(math.pi * step / 20)) for step in range(20)]
    assert rates == pytest.approx([run.config.lr * share for share in expected])


def test_each_layer_decays_by_its_own_coefficient():
    """Without a gradient, w becomes w (1 - lr decay)."""
    run = trainer(weight_decay=(0.0, 0.1), lr=1e-3)
    before = state(run.net)
    for parameter in run.net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    run.optimizer.step()
    step = {name: (before[name] - value) for name, value in run.net.state_dict().items()}
    decayed = step.pop("weights.1")
    torch.testing.assert_close(decayed, 1e-4 * before["weights.1"], rtol=1e-2, atol=1e-7)
    assert all((change == 0).all() for change in step.values())


def test_the_same_seed_gives_the_same_dynamics_and_no_global_randomness():
    before = torch.get_rng_state()
    first, second, other = untrained(), untrained(), untrained(seed=1)
    for model in (first, second, other):
        model.fit(transitions())
    assert_equal(state(first), state(second))
    assert not torch.equal(first.net.weights[0], other.net.weights[0])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("progress", [True, False])
def test_the_progress_bar_shows_only_when_asked_for(progress, capsys):
    untrained(epochs=1).fit(transitions(), progress=progress)
    assert ("val_loss" in capsys.readouterr().err) == progress


# Best weights and elites --------------------------------------------------------------------


def test_a_member_keeps_its_best_epoch_whole_and_stops_by_itself():
    """All its tensors, the bounds of its variance included, whatever the others do."""
    run, epochs, best = trainer(epochs=40, patience=2, lr=0.05), [], []

    def on_epoch(*_):
        epochs.append(state(run.net))
        best.append(run.best_loss.clone())

    history = run.run(Hooks(on_epoch=on_epoch))
    losses = torch.stack(best)
    chosen = (losses == losses[-1]).int().argmax(0)  # the epoch each member's best is from
    assert len(set(chosen.tolist())) > 1
    for name, value in run.net.state_dict().items():
        for member, epoch in enumerate(chosen):
            assert torch.equal(value[member], epochs[epoch][name][member]), name
    ends = (chosen + 3).clamp(max=40)  # two epochs without progress
    trained = [float((epoch < ends).sum()) for epoch in range(ends.max())]
    assert history["active_members"] == trained


def test_a_member_that_has_stopped_costs_nothing_and_counts_at_its_best():
    run, shapes = trainer(epochs=2), []
    run.stale_epochs[1] = run.config.patience
    run.best_loss[1], run.best_mse[1] = -300.0, 900.0
    before = state(run.net)
    run.net.register_forward_pre_hook(lambda net, args: shapes.append(len(args[0])))
    gradients = []
    run.optimizer.register_step_pre_hook(
        lambda *_: gradients.extend(p.grad[1].abs().sum() for p in run.net.parameters())
    )
    history = run.run(Hooks())
    assert history["val_loss"][-1] == pytest.approx(run.best_loss.mean().item(), abs=0.5)
    assert history["val_mse_reward"][-1] == pytest.approx(300, abs=2)
    assert set(shapes) <= {2, 10}  # two members in training; all 10 rows in validation
    assert sum(gradients) == 0
    for name, value in run.net.state_dict().items():
        assert torch.equal(value[1], before[name][1])
        assert not torch.equal(value[0], before[name][0])


def test_the_elites_are_the_members_with_the_least_error_on_held_out_rows():
    data = transitions()
    model = untrained(members=5, elites=2, epochs=3)
    model.fit(data)
    val = data.splits["val"]
    mean = model.predict(data.obs[val], data.action[val]).mean
    truth = torch.cat([data.next_obs[val], data.reward[val, None]], 1)
    error = ((mean - truth) / model.units.target_scale).square().mean((1, 2))
    assert model.elites.tolist() == error.argsort()[:2].sort().values.tolist()


# Resuming and failing -----------------------------------------------------------------------


class Interrupted(Exception):
    pass


def interrupt(epoch, row):
    if epoch == 3:
        raise Interrupted


@pytest.mark.parametrize("patience", [1, 99])
def test_a_killed_run_goes_on_to_the_same_numbers(tmp_path, patience):
    options = {"epochs": 6, "patience": patience, "lr": 0.05}
    whole = untrained(**options)
    expected = whole.fit(transitions())
    checkpoint = tmp_path / "dynamics.ckpt"
    with pytest.raises(Interrupted):
        untrained(**options).fit(transitions(), checkpoint=checkpoint, on_epoch=interrupt)
    assert load_tensors(checkpoint)[1]["progress"]["epoch"] == 2
    resumed, seen = untrained(**options), []
    history = resumed.fit(
        transitions(), checkpoint=checkpoint, on_epoch=lambda epoch, _: seen.append(epoch)
    )
    assert seen[0] == 3
    assert history == expected
    assert_equal(state(resumed), state(whole))
    again = untrained(**options)
    assert again.fit(transitions(), checkpoint=checkpoint) == expected
    assert_equal(state(again), state(whole))


@pytest.mark.parametrize("change", [{"lr": 0.1}, {"seed": 5}, {"data": transitions(35)}])
def test_a_checkpoint_of_another_run_is_refused(tmp_path, change):
    checkpoint = tmp_path / "dynamics.ckpt"
    untrained().fit(transitions(), checkpoint=checkpoint)
    data = change.pop("data", transitions())
    with pytest.raises(FitError, match="checkpoint of another configuration or other data"):
        untrained(**change).fit(data, checkpoint=checkpoint)


def test_a_loss_that_is_no_number_is_placed_and_leaves_the_last_good_checkpoint(tmp_path):
    data, checkpoint = transitions(), tmp_path / "dynamics.ckpt"

    def spoil(epoch, row):
        if epoch == 3:
            data.reward[10:] = math.nan

    model = untrained()
    with pytest.raises(FitError, match=r"^epoch 4, batch 1: the loss of the dynamics is nan"):
        model.fit(data, checkpoint=checkpoint, on_epoch=spoil)
    tensors, metadata = load_tensors(checkpoint)
    assert metadata["progress"]["epoch"] == 3
    assert all(value.isfinite().all() for value in tensors.values())


def test_a_validation_loss_that_is_no_number_is_an_error():
    data = transitions()
    data.reward[0] = math.inf
    with pytest.raises(FitError, match=r"^epoch 1: the validation loss .* is not finite"):
        untrained().fit(data)


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_split_is_named(split):
    data = transitions()
    data.splits[split] = data.splits["cal"]
    with pytest.raises(DataError, match=f"rows of the split '{split}', it is empty"):
        untrained().fit(data)


# Memory -------------------------------------------------------------------------------------


class PeakMemory(TorchDispatchMode):
    """The most bytes that the large results of operations held at one time."""

    large = 50_000

    def __init__(self):
        super().__init__()
        self.peak, self.known = 0, {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().nbytes() > self.large:
                storage = tensor.untyped_storage()
                self.known[storage.data_ptr()] = StorageWeakRef(storage), storage.nbytes()
        self.known = {k: entry for k, entry in self.known.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.known.values()))
        return out


def test_training_takes_less_memory_than_the_data_beside_it():
    data = transitions(n=200_000, n_val=1000, obs_dim=11, action_dim=3)
    size = sum(x.nbytes for x in (data.obs, data.action, data.reward, data.next_obs))
    model = untrained(obs_dim=11, action_dim=3, members=7, batch_size=1000, epochs=1)
    assert data.fingerprint  # kept from here on, so that its temporary copies are not counted
    with PeakMemory() as memory:
        model.fit(data)
    assert 0.2 * size < memory.peak < 0.7 * size  # the orders of the rows: 28 of 104 bytes a row
