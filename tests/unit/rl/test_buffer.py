import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rl.buffer import Batch, Layout, MixedBuffer
from rl.policy import Gaussian

LAYOUT = Layout(2, 1)
REAL, BATCH = 50, 32


def rows(values: Tensor | range, penalty: float = 0.0) -> Tensor:
    """Return rows whose reward is their number."""
    reward = torch.as_tensor(list(values), dtype=torch.float32)
    n = len(reward)
    reference = Gaussian(torch.zeros(n, 1), torch.zeros(n, 1))
    never = torch.zeros(n, dtype=torch.bool)
    states = torch.zeros(n, 3), torch.zeros(n, 2)
    return LAYOUT.pack(*states, reward, torch.full((n,), penalty), never, reference)


def buffer(retain: int = 2, seed: int = 0) -> MixedBuffer:
    generator = torch.Generator().manual_seed(seed)
    return MixedBuffer(rows(range(REAL)), LAYOUT, retain=retain, generator=generator)


def numbers(batches: list[Batch]) -> list[int]:
    return [int(number) for batch in batches for number in batch.reward]


@settings(derandomize=True, max_examples=30, deadline=None)
@given(obs_dim=st.integers(1, 8), action_dim=st.integers(1, 8), n=st.integers(0, 3))
def test_unpacking_gives_what_was_packed(obs_dim: int, action_dim: int, n: int) -> None:
    generator = torch.Generator().manual_seed(0)

    def randn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    state_action, next_obs = randn(n, obs_dim + action_dim), randn(n, obs_dim)
    reward, penalty, terminated = randn(n), randn(n), randn(n) > 0
    reference = Gaussian(randn(n, action_dim), randn(n, action_dim))
    layout = Layout(obs_dim, action_dim)
    packed = layout.pack(state_action, next_obs, reward, penalty, terminated, reference)
    batch = layout.unpack(packed)
    assert torch.equal(batch.state_action, state_action)
    assert torch.equal(batch.obs, state_action[:, :obs_dim])
    assert torch.equal(batch.next_obs, next_obs)
    assert torch.equal(batch.reward, reward)
    assert torch.equal(batch.penalty, penalty)
    assert torch.equal(batch.alive, 1 - terminated.float())
    assert all(map(torch.equal, batch.reference, reference))


@pytest.mark.parametrize(
    ("ratio", "n_real"), [(0.0, 0), (0.05, 2), (0.5, 16), (0.98, 31), (0.99, 32), (1.0, 32)]
)
def test_the_share_of_real_rows_is_that_of_the_configuration(ratio, n_real) -> None:
    mixed = buffer()
    mixed.add(0, rows(range(1000, 1010)))
    for batch in mixed.batches(20, BATCH, ratio):
        assert len(batch.reward) == BATCH
        assert (batch.reward < REAL).sum() == n_real


@pytest.mark.parametrize("ratio", [0.0, 0.05, 1.0])
def test_before_the_first_rollout_all_rows_are_real(ratio) -> None:
    drawn = numbers(list(buffer().batches(5, BATCH, ratio)))
    assert len(drawn) == 5 * BATCH
    assert max(drawn) < REAL


@pytest.mark.parametrize("retain", [1, 2, 5])
def test_as_many_generations_are_kept_as_configured(retain) -> None:
    """Not their room: generations of different length leave when their time is over."""
    mixed = buffer(retain)
    for number in range(9):
        size = 1 + number % 3
        mixed.add(number, rows(range(1000 * (number + 1), 1000 * (number + 1) + size)))
        kept = range(max(0, number - retain + 1), number + 1)
        assert list(mixed.generations) == list(kept)
        drawn = set(numbers(list(mixed.batches(20, BATCH, 0.0))))
        assert drawn == {1000 * (n + 1) + i for n in kept for i in range(1 + n % 3)}


def test_every_row_can_be_drawn_and_no_other() -> None:
    mixed = buffer()
    mixed.add(0, rows(range(100, 130)))
    mixed.add(1, rows(range(130, 140)))
    drawn = numbers(list(mixed.batches(100, BATCH, 0.5)))
    assert set(drawn) == {*range(REAL), *range(100, 140)}
    counts = torch.tensor(drawn).bincount()[100:140].float()
    expected = 100 * BATCH / 2 / 40
    assert ((counts - expected).square() / expected).sum() < 39 + 4 * (2 * 39) ** 0.5  # chi-square


def test_draws_come_from_the_generator_alone() -> None:
    state = torch.get_rng_state()
    first, same, other = (numbers(list(buffer(seed=s).batches(3, BATCH, 1.0))) for s in (1, 1, 2))
    assert first == same != other
    assert torch.equal(torch.get_rng_state(), state)


def test_penalties_travel_with_the_model_rows_alone() -> None:
    mixed = buffer()
    mixed.add(0, rows(range(1000, 1010), penalty=3.0))
    (batch,) = mixed.batches(1, BATCH, 0.5)
    assert torch.equal(batch.penalty, 3.0 * (batch.reward >= 1000))
