"""Paths and memories, with a sequence model that counts the rows it has seen and adds them up."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from gormpo_density import VAE, OODPenalty, SequenceModel
from gormpo_density.errors import ConfigError, DataError, NotCalibratedError
from rl import history
from rl.config import PenaltyConfig
from rl.history import Memory, Paths, go_on, no_memory, picked, recall_for
from rl.penalties import make_penalty
from rl.step_scores import (
    HistoryScorer,
    LargestScorer,
    PenaltyValue,
    ProposedStep,
    StepScorer,
    calibrate_steps,
    row_problems,
)

#: Three episodes of 5, 1 and 4 rows; row i is (i, -i).
EPISODE = torch.tensor([7, 7, 7, 7, 7, 3, 9, 9, 9, 9])
NUMBERS = torch.arange(10.0)
ROWS = torch.stack([NUMBERS, -NUMBERS], 1)
PLAIN = torch.stack([NUMBERS, 0 * NUMBERS], 1)


class Seen(NamedTuple):
    count: Tensor  # (B,)
    total: Tensor  # (B, 1): of first entries


class Counting(SequenceModel[Seen]):
    """The score of a row is minus its last entry's size and minus the number of rows before it."""

    def __init__(self, n_features: int = 2, window: int = 1, sequence_length: int = 6) -> None:
        super().__init__(n_features, window, sequence_length)
        self.is_fitted = True

    def _log_prob(self, z: Tensor) -> Tensor:
        return z.new_full((len(z),), -0.5 * self.sequence_length * (self.sequence_length - 1))

    def _empty_state(self, batch: int) -> Seen:
        return Seen(torch.zeros(batch), torch.zeros(batch, 1))

    def _step(self, z: Tensor, state: Seen) -> tuple[Tensor, Seen]:
        return -state.count - z[:, 0, -1].abs(), Seen(state.count + 1, state.total + z[:, 0, :1])


@pytest.fixture
def paths() -> Paths:
    return Paths.of(ROWS, EPISODE)


@pytest.fixture
def model() -> Counting:
    """After 2 rows, last entries of 0 to 10 are normal: u = (count + entry - 12) / 5.

    Of a first row, u = (entry - 10) / 5.
    """
    made = Counting()
    windows = torch.stack([torch.zeros(11), torch.arange(11.0)], 1)[:, None]
    made.calibrate_steps(windows, seen(*(11 * [2])).state, alpha=0.1)
    return made


def proposed(data: Tensor, memory: Memory | None = None) -> ProposedStep:
    return ProposedStep(data[:, :1], data[:, 1:], data[:, :1], memory=memory)


def scorer(model: Counting, kind: str = "linear") -> HistoryScorer:
    both = (OODPenalty(model, kind, score=name) for name in (model.STEP, model.FIRST_STEP))
    return HistoryScorer(model, *both, "state_action")


def seen(*counts: int) -> Memory:
    number = torch.tensor(counts)
    return Memory(Seen(number.float(), torch.zeros(len(counts), 1)), number)


def test_rows_know_their_place_in_their_episode(paths) -> None:
    assert paths.place.tolist() == [0, 1, 2, 3, 4, 0, 0, 1, 2, 3]


def test_an_episode_that_comes_back_is_another(paths) -> None:
    again = Paths.of(ROWS[:5], torch.tensor([1, 1, 2, 1, 1]))
    assert again.place.tolist() == [0, 1, 0, 0, 1]


def test_sequences_are_consecutive_rows_of_one_episode(paths) -> None:
    found = paths.sequences(torch.arange(10), length=3, most=99, seed=0)
    assert found[..., 0].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [6, 7, 8], [7, 8, 9]]
    of_one = paths.sequences(torch.arange(6, 10), length=4, most=99, seed=0)
    assert torch.equal(of_one, ROWS[None, 6:])


def test_a_draw_of_sequences_is_without_replacement_and_its_seed_decides_it(paths) -> None:
    def draw(seed: int) -> list[float]:
        return paths.sequences(torch.arange(10), 2, 4, seed)[:, 1, 0].tolist()

    assert draw(0) == draw(0)
    assert len(set(draw(0))) == 4
    assert {tuple(draw(seed)) for seed in range(5)} != {tuple(draw(0))}


def test_episodes_that_are_all_too_short_are_told(paths) -> None:
    with pytest.raises(DataError, match="no episode has the 6 rows that a sequence model is"):
        paths.sequences(torch.arange(10), length=6, most=9, seed=0)


def test_a_row_recalls_the_half_of_a_sequence_before_it_and_nothing_of_other_episodes(
    paths, model
) -> None:
    memory = paths.recall(model, torch.arange(10))
    assert isinstance(memory.state, Seen)
    assert memory.seen.tolist() == [0, 1, 2, 3, 3, 0, 0, 1, 2, 3]
    assert memory.state.count.tolist() == memory.seen.tolist()
    assert memory.state.total[:, 0].tolist() == [0, 0, 1, 3, 6, 0, 0, 6, 13, 21]


def test_a_recall_is_that_of_the_model_of_paths_in_any_order(paths, model) -> None:
    class Data:
        episode = EPISODE

        def rows(self, kind: str) -> Tensor:
            assert kind == "state_action"
            return ROWS

    assert recall_for(Data(), "state_action", None) is None
    recall = recall_for(Data(), "state_action", None, model)
    assert recall(torch.tensor([9, 0, 4, 4])).seen.tolist() == [3, 0, 3, 3]


def test_some_rows_of_a_memory_are_picked_by_mask_or_number() -> None:
    memory = seen(1, 2, 3)
    for rows in (torch.tensor([True, False, True]), torch.tensor([0, 2])):
        kept = picked(memory, rows)
        assert kept.seen.tolist() == kept.state.count.tolist() == [1, 3]
    assert picked(None, torch.tensor([0])) is None
    plain = picked(Memory((torch.ones(2),), torch.ones(2)), torch.tensor([0]))
    assert type(plain.state) is tuple


@pytest.mark.parametrize("n", [0, 1, 3, 4, 7])
def test_chunks_are_put_together_again(monkeypatch, model, n) -> None:
    rows, memory = ROWS[:n], seen(*range(n))
    score, after = go_on(model, rows, memory)
    assert score.tolist() == [-2.0 * i for i in range(n)]
    monkeypatch.setattr(history, "_CHUNK_ROWS", 3)
    in_chunks, after_chunks = go_on(model, rows, memory)
    assert torch.equal(in_chunks, score)
    assert torch.equal(after_chunks.seen, after.seen)
    assert all(map(torch.equal, after_chunks.state, after.state))


def test_a_step_costs_what_the_model_says_of_it_after_its_own_past(model) -> None:
    value = scorer(model)(proposed(PLAIN[:4], seen(2, 12, 17, 1000)))
    torch.testing.assert_close(value.surprise, torch.tensor([-2.0, 0.0, 1.0, 197.6]))
    torch.testing.assert_close(value.penalty, torch.tensor([0.0, 0.0, 1.0, 10.0]))
    assert value.memory.seen.tolist() == [3, 13, 18, 1001]
    assert value.memory.state.total[:, 0].tolist() == [0, 1, 2, 3]


def test_a_first_step_is_held_against_first_steps(model) -> None:
    rows = torch.tensor([[0.0, 10.0], [0.0, 15.0], [0.0, 10.0]])
    for memory in (None, no_memory(model, 3)):
        value = scorer(model)(proposed(rows, memory))
        torch.testing.assert_close(value.surprise, torch.tensor([0.0, 1.0, 0.0]))
        assert value.memory.seen.tolist() == [1, 1, 1]
    mixed = scorer(model)(proposed(rows, seen(0, 0, 2)))
    torch.testing.assert_close(mixed.surprise, torch.tensor([0.0, 1.0, 0.0]))


def test_rows_without_a_past_do_not_set_the_threshold_of_those_that_have_one(model) -> None:
    rows = torch.stack([torch.zeros(22), torch.arange(22.0) % 11], 1)
    memory = seen(*(11 * [0]), *(11 * [5]))
    found = calibrate_steps(model, rows, memory, 0.1, None, 2)
    assert (len(found.scores), found.threshold, found.n_episodes) == (11, -15, 2)
    assert model.calibrations[model.FIRST_STEP].threshold == -10
    with pytest.raises(ConfigError, match="calibrated with what went before"):
        calibrate_steps(model, rows, None, 0.1, None, 2)


def test_a_branch_does_not_depend_on_the_others(model) -> None:
    together = scorer(model)(proposed(PLAIN[:3], seen(3, 20, 0)))
    for i in range(3):
        alone = scorer(model)(
            proposed(PLAIN[i : i + 1], picked(seen(3, 20, 0), torch.tensor([i])))
        )
        assert alone.penalty == together.penalty[i]
        assert alone.memory.state.count == together.memory.state.count[i]


def test_a_row_that_cannot_be_scored_gets_the_largest_penalty(model) -> None:
    bad = torch.tensor([[torch.nan, 0.0], [0.0, torch.inf]])
    penalty = scorer(model)
    assert penalty.limit == 10
    assert penalty(proposed(bad)).penalty.tolist() == [10, 10]
    assert scorer(model, "gormpo-softplus").limit == 100


class Fixed:
    """A scorer of rows whose penalties are known."""

    limit = 50.0

    def __init__(self, *u: float) -> None:
        self.u = torch.tensor(u)

    def __call__(self, step: ProposedStep) -> PenaltyValue:
        return PenaltyValue(self.u.clamp(min=0), self.u)


def test_the_larger_surprise_counts_row_by_row(model) -> None:
    both = LargestScorer(Fixed(-1.0, 3.0, torch.nan), scorer(model))
    value = both(proposed(PLAIN[:3], seen(17, 17, 17)))
    torch.testing.assert_close(value.surprise[:2], torch.tensor([1.0, 3.0]))
    assert value.surprise[2].isnan()  # a penalty turns it into the largest u there is
    assert value.penalty[:2].tolist() == pytest.approx([1, 3])
    assert value.memory.seen.tolist() == [18, 18, 18]
    assert both.limit == 50


class Steady:
    members, obs_dim, action_dim = 1, 1, 1


def made(config: PenaltyConfig, model: Counting, **options):
    held_out = torch.zeros(3, 1), torch.zeros(3, 1)
    given = {"row_kind": "state_action", "dynamics": Steady(), "held_out": held_out}
    return make_penalty(config, density=model, **given, **options)


@pytest.mark.parametrize("name", ["density", "none"])
def test_penalties_carry_the_memory_whatever_they_are_of(model, name) -> None:
    penalty = made(PenaltyConfig(name=name, truncate=2.0), model)
    step = proposed(PLAIN[:2], seen(17, 2))
    value = penalty(step)
    torch.testing.assert_close(value.surprise, torch.tensor([1.0, -2.0]))
    assert value.memory.seen.tolist() == [18, 3]
    assert penalty(step._replace(memory=value.memory)).memory.seen.tolist() == [19, 4]


def test_a_penalty_of_rows_is_put_beside_one_of_paths_by_its_own_score(model) -> None:
    rows = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    vae = VAE(2, latent_dim=1, hidden_dims=[4])
    vae.fit(rows, epochs=1, seed=0)
    vae.calibrate(rows, score="iwae")
    penalty = made(PenaltyConfig(score="iwae"), vae, beside=model)
    assert isinstance(penalty.scorer, LargestScorer)
    assert isinstance(penalty.scorer.row, StepScorer)
    value = penalty(proposed(0 * rows[:1], seen(1000)))
    assert value.surprise.item() == pytest.approx(197.6)
    assert value.memory.seen == 1001


def test_what_cannot_score_steps_is_refused() -> None:
    model = Counting()
    with pytest.raises(NotCalibratedError, match="call calibrate_steps first"):
        made(PenaltyConfig(), model)
    with pytest.raises(ConfigError, match="score 'elbo' is unknown"):
        made(PenaltyConfig(score="elbo"), model)
    assert row_problems(model, "state_action", 1, 1) == []
    (problem,) = row_problems(Counting(window=2), "state_action", 1, 1)
    assert "model.window is 2, must be 1" in problem
    (problem,) = row_problems(model, "state_action", 2, 1)
    assert "scores rows of shape (2,)" in problem
