import pytest

from gormpo_density.errors import ConfigError
from gormpo_density.fitting import FitOptions, Hooks
from gormpo_density.phases import NoisyPhaseOptions, PhaseOptions, Phases
from gormpo_density.schema import validate

OPTIONS = FitOptions(10, 32, 1e-3, 0.0, 0.1, 5.0, 7, seed=3)


def train(hooks, epochs):
    for epoch in range(1, epochs + 1):
        if hooks.on_epoch is not None:
            hooks.on_epoch(epoch, {"val_loss": epoch / 2})
    return {"val_loss": [epoch / 2 for epoch in range(1, epochs + 1)]}


def test_curves_and_epochs_follow_one_another():
    rows = []
    phases = Phases(Hooks(on_epoch=lambda *row: rows.append(row)), "phase")
    phases.run(lambda hooks: train(hooks, 2))
    phases.run(lambda hooks: train(hooks, 1))
    assert phases.history == {"val_loss": [0.5, 1.0, 0.5], "phase": [0, 0, 1]}
    assert rows == [
        (1, {"val_loss": 0.5, "phase": 0}),
        (2, {"val_loss": 1.0, "phase": 0}),
        (3, {"val_loss": 0.5, "phase": 1}),
    ]


def test_each_has_a_checkpoint_of_its_own(tmp_path):
    seen = []
    phases = Phases(Hooks(tmp_path / "fit.safetensors", progress=True), "phase")
    for _ in range(2):
        phases.run(lambda hooks: seen.append(hooks) or {})
    assert [hooks.checkpoint.name for hooks in seen] == ["fit-0.safetensors", "fit-1.safetensors"]
    assert all(hooks.progress and hooks.on_epoch is None for hooks in seen)


def test_without_hooks_there_is_nothing_to_call():
    seen = []
    Phases(Hooks(), "phase").run(lambda hooks: seen.append(hooks) or {})
    assert seen == [Hooks()]


def test_options_of_a_phase_replace_those_of_the_fit():
    assert PhaseOptions().of(OPTIONS) == OPTIONS
    own = NoisyPhaseOptions(epochs=2, noise=0.0).of(OPTIONS)
    assert (own.epochs, own.noise) == (2, 0.0)
    assert (own.batch_size, own.lr, own.seed) == (OPTIONS.batch_size, OPTIONS.lr, OPTIONS.seed)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epocs": 1}, "epocs is unknown, did you mean 'epochs'"),
        ({"epochs": 0}, "epochs must be greater than or equal to 1, is 0"),
        ({"lr": -1.0}, "lr must be greater than 0"),
        ({"noise": 0.1}, "noise is unknown"),
    ],
)
def test_wrong_options_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        validate(PhaseOptions, values, lambda path: "fit")
