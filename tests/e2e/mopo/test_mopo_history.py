"""Runs whose penalty sees the path: alone, beside a model of rows, and taken over."""

import numpy as np
import pytest
import torch

from gormpo_density import VAELSTM, load_model
from gormpo_density.config import dump_config
from rl.assembly import assemble
from rl.stages import Stages

SHORT = ("sac.epochs=2", "history.length=6", "history.sequences=128")
BESIDE = (*SHORT, "history.beside=true")


@pytest.fixture(scope="module")
def by_name(config_of, stages, tmp_path_factory):
    """A function that lets the command make a run with the model called `vae_lstm`."""
    folder = tmp_path_factory.mktemp("by_name")
    (folder / "line.yaml").write_text(dump_config(config_of(*SHORT)))

    def make(train, name: str, *flags: object):
        what = ["--config", folder / "line.yaml", *flags]
        code, lines = train(*what, "--run-dir", folder / name, "--stages", stages)
        assert code == 0, lines
        return folder / name

    return make


def test_the_model_is_chosen_by_its_name_and_its_run_can_be_named(
    by_name, train, finished
) -> None:
    run = type(finished)(by_name(train, "first", "--model", "vae_lstm"))
    model = load_model(run.path)
    assert isinstance(model, VAELSTM)
    assert model.event_shape == (6, 2)
    assert model.STEP in model.calibrations
    assert 0 < run.metrics["flagged_fraction"] < 1
    again = type(finished)(by_name(train, "again", "--density", run.path))
    assert again.history == run.history


def test_the_path_changes_the_penalty(mopo) -> None:
    alone, both = mopo(*SHORT, name="alone"), mopo(*BESIDE, name="both")
    assert np.isfinite(both.metrics["return_mean"])
    assert both.metrics["flagged_fraction"] > alone.metrics["flagged_fraction"]
    assert isinstance(load_model(both.path / "history"), VAELSTM)
    assert not (alone.path / "history").exists()


def test_a_rollout_remembers_the_rows_before_its_own_start(config_of, stages, tmp_path) -> None:
    config = config_of(*BESIDE)
    setup = assemble(config, tmp_path, Stages(stages), torch.device("cpu"), progress=False)
    data, rollouts = setup.data, setup.loop.rollouts
    rows, train = data.rows("state_action"), data.splits["train"]
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:40]
    memory = rollouts.recall(chosen)
    assert 0 < (memory.seen < 3).sum() < 40
    for i, row in enumerate(train[chosen].tolist()):
        assert torch.equal(rollouts.starts[chosen[i]], data.obs[row])
        first = int((data.episode[: row + 1] == data.episode[row]).nonzero()[0])
        before = rows[max(first, row - 3) : row]  # the half of 6 rows
        assert memory.seen[i] == len(before)
        with torch.no_grad():
            state = setup.beside.init_state(before[None])
        torch.testing.assert_close(memory.state.hidden[i], state.hidden[0])
        torch.testing.assert_close(memory.state.embedding[i], state.embedding[0])


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["model.window=2"], "a rollout goes on by single steps; model.window is 2, must be 1"),
        (["history.beside=true"], "history.beside: the density model is one of paths already"),
        (["history.length=1"], "history.length must be greater than or equal to 2"),
        (["penalty.score=surprise"], "score 'surprise' is unknown; choose from elbo"),
        (["penalty.score=prediction"], "of single steps there is 'elbo' only"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_trained(
    config_of, train, tmp_path, settings, complaint
) -> None:
    (tmp_path / "line.yaml").write_text(dump_config(config_of(*SHORT)))
    flags = [flag for setting in settings for flag in ("--set", setting)]
    where = ["--run-dir", tmp_path / "run", "--stages", tmp_path / "stages"]
    code, lines = train("--config", tmp_path / "line.yaml", "--model", "vae_lstm", *flags, *where)
    assert code == 2
    assert complaint in lines[0]
    assert not (tmp_path / "stages").exists()
