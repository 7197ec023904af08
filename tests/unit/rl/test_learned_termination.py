import logging
import math

import pytest
import torch

from gormpo_density.errors import DataError, FitError
from rl import learned_termination
from rl.learned_termination import LearnedTermination, Outcomes, fit_termination


def falls(n: int, seed: int, share: float | None = None) -> Outcomes:
    """Make a leaning pole: an episode ends beyond |angle| = .2, here in about 4 % of the rows."""
    generator = torch.Generator().manual_seed(seed)
    obs = 0.1 * torch.randn(n, 3, generator=generator)
    action = torch.randn(n, 1, generator=generator)
    next_obs = obs + 0.01 * action
    next_obs[:, 2] = 7.0  # a constant column
    terminated = next_obs[:, 1].abs() > 0.2
    if share is not None:
        terminated = torch.full_like(terminated, bool(share))
    return Outcomes(obs, action, next_obs, terminated)


@pytest.fixture(scope="module")
def fitted() -> LearnedTermination:
    return fit_termination(falls(8000, 0), falls(2000, 1), seed=0, steps=400)


def test_rare_ends_are_found_with_few_false_ones(fitted: LearnedTermination) -> None:
    test = falls(20_000, 2)
    found = fitted(*test[:3])
    assert found.dtype == torch.bool
    assert 0.02 < test.terminated.float().mean() < 0.06
    assert found[test.terminated].float().mean() > 0.97
    assert found[~test.terminated].float().mean() < 0.02


def test_probabilities_are_those_of_the_data_not_of_the_balanced_batches(
    fitted: LearnedTermination,
) -> None:
    test = falls(20_000, 2)
    with torch.no_grad():
        probability = fitted.logit(*test[:3]).sigmoid()
    share = test.terminated.float().mean().item()
    assert probability.mean().item() == pytest.approx(share, rel=0.15)
    assert fitted.prior_logit.item() == pytest.approx(math.log(share / (1 - share)), abs=0.15)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_row_that_is_not_finite_ends(fitted: LearnedTermination, value: float) -> None:
    rows = torch.tensor([0.0, 0.0, 7.0]).repeat(2, 1)
    rows[1, 0] = value
    assert fitted(torch.zeros(2, 3), torch.zeros(2, 1), rows).tolist() == [False, True]
    assert fitted(rows[:0], torch.zeros(0, 1), rows[:0]).shape == (0,)


def test_the_rule_survives_its_state_dict(fitted: LearnedTermination) -> None:
    copy = LearnedTermination(3, 1)
    copy.load_state_dict(fitted.state_dict())
    rows = falls(500, 3)[:3]
    assert torch.equal(copy.logit(*rows), fitted.logit(*rows))


def test_the_same_seed_gives_the_same_rule_and_global_randomness_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (
        fit_termination(falls(500, 0), falls(100, 1), seed=seed, steps=20) for seed in (1, 1, 2)
    )
    rows = falls(50, 3)[:3]
    assert torch.equal(first.logit(*rows), again.logit(*rows))
    assert not torch.equal(first.logit(*rows), other.logit(*rows))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_without_ends_in_the_data_nothing_ever_ends(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        rule = fit_termination(falls(100, 0, share=0), falls(50, 1, share=0), seed=0)
    assert "no training row is terminated: the learned termination never ends" in caplog.text
    assert not rule(*falls(100, 2)[:3]).any()
    assert rule(torch.zeros(1, 3), torch.zeros(1, 1), torch.full((1, 3), math.nan)).all()


def test_where_every_row_ends_every_row_ends() -> None:
    rule = fit_termination(falls(100, 0, share=1), falls(50, 1, share=1), seed=0)
    assert rule(*falls(100, 2)[:3]).all()


def test_the_best_weights_on_validation_rows_are_kept(monkeypatch) -> None:
    """A few rows are learnt by heart, so the validation loss rises again."""
    train, val, seen = falls(40, 0), falls(2000, 1), []
    log_loss = learned_termination._log_loss

    def noted(model: LearnedTermination, rows: Outcomes) -> float:
        seen.append(log_loss(model, rows))
        return seen[-1]

    monkeypatch.setattr(learned_termination, "_log_loss", noted)
    rule = fit_termination(train, val, seed=0, steps=600, lr=0.1)
    assert min(seen) < seen[-1]
    assert log_loss(rule, val) == min(seen)


def test_empty_splits_and_losses_that_are_not_finite_are_named() -> None:
    rows, none = falls(100, 0), falls(0, 0)
    with pytest.raises(DataError, match="needs training rows, got 0"):
        fit_termination(none, rows, seed=0)
    with pytest.raises(DataError, match="needs validation rows, got 0"):
        fit_termination(rows, none, seed=0)
    with pytest.raises(FitError, match="no validation loss in 5 steps was finite"):
        fit_termination(rows, rows, seed=0, steps=5, lr=1e30)
