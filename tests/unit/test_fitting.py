import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gormpo_density.errors import ConfigError, FitError
from gormpo_density.fitting import FitOptions, Hooks, Trainer, evaluate, hold_out
from gormpo_density.persistence import load_tensors

PROPERTY = settings(derandomize=True, max_examples=20, deadline=None)
DEFAULTS = {
    "epochs": 4,
    "batch_size": 5,
    "lr": 0.1,
    "weight_decay": 0.0,
    "noise": 0.0,
    "grad_clip": 5.0,
    "patience": 20,
    "seed": 0,
}


class Mean(nn.Module):
    """Learns the mean of the rows; keeps what it is called with."""

    def __init__(self):
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(2))
        self.batches, self.progress, self.evaluated = [], [], []

    def losses(self, z, generator=None, progress=1.0):
        if generator is None:
            self.evaluated.append(z)
        else:
            self.batches.append(z)
            self.progress.append(progress)
        return {"loss": (z - self.mu).square().mean(), "spread": z.std()}


def rows(n=20, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)) + 3


def trainer(model=None, splits=None, **options):
    splits = splits or {"train": rows(), "val": rows(7, 1)}
    return Trainer(model or Mean(), splits, FitOptions(**{**DEFAULTS, **options}))


def by_size(tensor):
    return tensor[tensor[:, 0].argsort()]


# What a run does ----------------------------------------------------------------------------


def test_the_history_has_every_part_of_every_split():
    splits = {"train": rows(), "val": rows(7, 1), "test": rows(3, 2)}
    history = trainer(splits=splits).run(Hooks())
    assert set(history) == {f"{s}_{part}" for s in splits for part in ("loss", "spread")}
    assert {len(curve) for curve in history.values()} == {4}


def test_the_minimum_is_found():
    run = trainer(splits={"train": rows(), "val": rows()}, epochs=60)
    history = run.run(Hooks())
    torch.testing.assert_close(run.model.mu.detach(), rows().mean(0), atol=0.02, rtol=0)
    assert history["val_loss"][-1] < history["val_loss"][0] / 4
    assert not run.model.training


def test_an_epoch_sees_every_row_once_in_a_new_order():
    run = trainer(epochs=2)
    run.run(Hooks())
    assert [len(batch) for batch in run.model.batches] == [5] * 8
    first, second = torch.cat(run.model.batches[:4]), torch.cat(run.model.batches[4:])
    assert torch.equal(by_size(first), by_size(rows()))
    assert torch.equal(by_size(second), by_size(rows()))
    assert not torch.equal(first, second)


def test_noise_is_added_to_training_rows_only():
    splits = {"train": torch.zeros(20_000, 2), "val": rows()}
    run = trainer(splits=splits, epochs=1, batch_size=20_000, noise=0.3)
    run.run(Hooks())
    assert run.model.batches[0].std().item() == pytest.approx(0.3, rel=0.02)
    assert torch.equal(run.averaged.evaluated[0], rows())


def test_the_learning_rate_rises_then_falls_along_a_half_cosine():
    run, rates = trainer(epochs=50, lr=0.2, patience=99), []
    run.optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"] / 0.2)
    )
    run.run(Hooks())
    assert len(rates) == 200
    assert rates[:3] == pytest.approx([0.25, 0.5, 0.75])  # warm-up: 2 % of 200 steps
    assert rates[50] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert rates[100] == pytest.approx(0.5)
    assert 0 < rates[199] < 1e-4
    assert run.model.progress == pytest.approx([step / 200 for step in range(200)])


def test_gradients_are_clipped_by_norm():
    run, norms = trainer(grad_clip=0.5), []
    run.optimizer.register_step_pre_hook(lambda *_: norms.append(run.model.mu.grad.norm()))
    run.run(Hooks())
    torch.testing.assert_close(norms[0], torch.tensor(0.5))
    assert max(norms) < 0.5001


@pytest.mark.parametrize("epochs", [5, 100])
def test_the_weights_evaluated_are_an_average_of_the_iterates(epochs):
    """First of all of them, then over a hundredth of the steps."""
    run, iterates = trainer(epochs=epochs), [torch.zeros(2)]
    run.optimizer.register_step_post_hook(
        lambda *_: iterates.append(run.model.mu.detach().clone())
    )
    averages = []
    run.run(Hooks(on_epoch=lambda *_: averages.append(run.averaged.mu.detach().clone())))
    expected, horizon = iterates[0], max(4 * epochs / 100, 1)
    for step, iterate in enumerate(iterates[1:], start=1):
        expected = expected + (iterate - expected) * max(1 / (1 + step), 1 / horizon)
    torch.testing.assert_close(averages[-1], expected)


def test_hooks_are_called_after_every_epoch_and_before_its_checkpoint(tmp_path):
    path, seen = tmp_path / "checkpoint", []

    def on_epoch(epoch, row):
        saved = load_tensors(path)[1]["progress"]["epoch"] if path.exists() else 0
        seen.append((epoch, saved, row))

    history = trainer(epochs=3).run(Hooks(path, on_epoch))
    assert [(epoch, saved) for epoch, saved, _ in seen] == [(1, 0), (2, 1), (3, 2)]
    for name, curve in history.items():
        assert [row[name] for _, _, row in seen] == curve
    assert load_tensors(path)[1]["progress"]["epoch"] == 3


@pytest.mark.parametrize("progress", [True, False])
def test_the_progress_bar_shows_only_when_asked_for(progress, capsys):
    trainer(epochs=2).run(Hooks(progress=progress))
    assert ("val_loss" in capsys.readouterr().err) == progress


# Early stopping -----------------------------------------------------------------------------


class Scripted(Mean):
    """Validation losses from a list."""

    def __init__(self, script):
        super().__init__()
        self.script = script

    def losses(self, z, generator=None, progress=1.0):
        losses = super().losses(z, generator, progress)
        if generator is None:
            losses["loss"] = torch.tensor(self.script[len(self.evaluated) - 1])
        return losses


@pytest.mark.parametrize(
    ("script", "patience", "epochs", "best"),
    [
        ([3.0, 2.0, 5.0, 4.0, 1.0], 2, 4, 2),
        ([3.0, 2.0, 5.0, 4.0, 1.0], 3, 5, 5),
        ([3.0, 3.0, 3.0, 3.0, 3.0], 1, 2, 1),
        ([math.nan, 2.0, math.inf, math.nan, 1.0], 2, 4, 2),
    ],
)
def test_patience_stops_and_the_best_weights_are_kept(script, patience, epochs, best):
    run, averages = trainer(Scripted(script), epochs=5, patience=patience), []
    history = run.run(Hooks(on_epoch=lambda *_: averages.append(run.averaged.mu.clone())))
    assert history["val_loss"] == pytest.approx(script[:epochs], nan_ok=True)
    assert torch.equal(run.model.mu, averages[best - 1])
    assert not torch.equal(averages[0], averages[1])


# Steps that are not finite ------------------------------------------------------------------


class Failing(Mean):
    """Gives `value` for the loss, or for its gradient only, at some steps (from 1)."""

    def __init__(self, steps, value, in_gradient=False):
        super().__init__()
        self.steps, self.value, self.in_gradient = steps, value, in_gradient

    def losses(self, z, generator=None, progress=1.0):
        losses = super().losses(z, generator, progress)
        if generator is not None and len(self.batches) in self.steps:
            flawed = losses["loss"] + self.value
            if self.in_gradient:
                self.mu.register_hook(lambda gradient: gradient * self.value)
                flawed = losses["loss"]
            losses["loss"] = flawed
        return losses


@pytest.mark.parametrize("in_gradient", [True, False])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_step_that_is_not_finite_is_skipped_with_a_warning(value, in_gradient, caplog):
    run, steps = trainer(Failing({20}, value, in_gradient), epochs=5), []
    run.optimizer.register_step_pre_hook(lambda *_: steps.append(run.step))
    run.run(Hooks())
    assert steps == list(range(1, 20))
    assert [record.message.split(":")[0] for record in caplog.records] == ["epoch 5, batch 4"]
    assert run.model.mu.isfinite().all()


def test_twenty_bad_steps_in_a_row_stop_the_run_naming_the_place():
    run = trainer(Failing(range(10, 100), math.nan), epochs=20, patience=99)
    with pytest.raises(FitError, match=r"^epoch 8, batch 1: loss is nan; 20 steps in a row"):
        run.run(Hooks())
    assert run.model.mu.isfinite().all()


def test_a_run_without_a_finite_validation_loss_is_no_success():
    splits = {"train": rows(), "val": torch.full((3, 2), math.nan)}
    with pytest.raises(FitError, match=r"^epochs 1 to 2: no validation loss was finite"):
        trainer(splits=splits, epochs=2).run(Hooks())


def test_bad_steps_that_are_not_in_a_row_do_not_stop_the_run():
    bad = {step for step in range(1, 80) if step % 19}
    assert (
        len(trainer(Failing(bad, math.nan), epochs=20, patience=99).run(Hooks())["val_loss"]) == 20
    )


# The functions beside it --------------------------------------------------------------------


@PROPERTY
@given(n=st.integers(1, 60), seed=st.integers(0, 9))
def test_hold_out_takes_a_random_tenth(n, seed):
    numbers = torch.arange(n)
    kept, held_out = hold_out(numbers, seed)
    assert len(held_out) == max(1, n // 10)
    assert torch.equal(torch.cat([kept, held_out]).sort().values, numbers)
    assert torch.equal(hold_out(numbers, seed)[1], held_out)


def test_evaluate_is_the_mean_over_all_rows_whatever_the_chunks():
    class First(nn.Module):
        def losses(self, z):
            return {"loss": z.mean(), "largest": z.max()}

    z = torch.arange(20_000.0)[:, None]
    assert evaluate(First(), z)["loss"] == pytest.approx(9999.5)


class Counting(Mean):
    """Counts its training batches in a buffer, as a batch normalisation does."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def losses(self, z, generator=None, progress=1.0):
        self.count += generator is not None
        return super().losses(z, generator, progress)


def test_buffers_that_training_changes_are_evaluated_and_kept():
    run = trainer(Counting(), epochs=3)
    run.run(Hooks())
    assert run.averaged.count == 12
    assert run.model.count == 12


def test_options_out_of_range_are_all_told():
    wrong = {"epochs": 0, "batch_size": 0, "patience": 0, "lr": -1.0, "grad_clip": 0.0}
    with pytest.raises(ConfigError) as error:
        trainer(**wrong, weight_decay=-1.0, noise=math.nan)
    assert error.value.problems == (
        "epochs must be at least 1, is 0",
        "batch_size must be at least 1, is 0",
        "patience must be at least 1, is 0",
        "lr must be above 0, is -1.0",
        "grad_clip must be above 0, is 0.0",
        "weight_decay must be at least 0, is -1.0",
        "noise must be at least 0, is nan",
    )
