"""The checks of sequence models can be passed by a plug-in, and each can fail."""

import math

import pytest
import torch
from torch import nn

from gormpo_density import registry
from gormpo_density.registry import register_model
from gormpo_density.sequence import SequenceModel
from gormpo_density.testing import check_density_model, density_model_checks

SHAPES = ((6, 2), (4, 1))


class Autoregression(SequenceModel):
    """w_t ~ N(a w_t-1, I), with w_0 = 0: a plug-in whose state is the last sub-window."""

    def __init__(self, n_features, window=1, sequence_length=2):
        super().__init__(n_features, window, sequence_length)
        self.a = nn.Parameter(torch.zeros(n_features))

    def reset_parameters(self):
        nn.init.normal_(self.a, std=0.1)

    def _empty_state(self, batch):
        return (self.standardizer.mean.new_zeros(batch, self.window, self.n_features),)

    def _step(self, z, state):
        squared = (z - self.a * state[0]).square() + math.log(2 * math.pi)
        usable = z.isfinite().all((1, 2))[:, None, None]
        return -0.5 * squared.sum((1, 2)), (torch.where(usable, z, state[0]),)

    def _log_prob(self, z):
        state, scores = Autoregression._empty_state(self, len(z)), []
        for window in z.split(self.window, dim=1):
            score, state = Autoregression._step(self, window, state)
            scores.append(score)
        return torch.stack(scores, 1).sum(1)

    def _sample(self, num_samples, generator):
        z = torch.randn((num_samples, *self.event_shape), generator=generator)
        for t in range(self.window, z.shape[1]):
            z[:, t] += self.a * z[:, t - self.window]
        return z


def make(cls):
    return lambda shape: cls.of_shape(shape, window=2)


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))


def test_a_plug_in_passes():
    check_density_model(make(register_model("toy")(Autoregression)), SHAPES)


class CountsTheUnitsTwice(Autoregression):
    def _step(self, z, state):
        score, state = super()._step(z, state)
        return score + self.standardizer.log_abs_det, state


class ForgetsTheHistory(Autoregression):
    def init_state(self, history=1):
        return self._empty_state(history if isinstance(history, int) else len(history))


class WritesIntoItsState(Autoregression):
    def _step(self, z, state):
        score, (new,) = super()._step(z, state)
        return score, (state[0].copy_(new),)


class RemembersByItself(Autoregression):
    last = 0.0

    def _step(self, z, state):
        score, state = super()._step(z, state)
        score, self.last = score + 0 * score + self.last, score.mean().item()
        return score, state


class OneStateForAll(Autoregression):
    def _step(self, z, state):
        score, (new,) = super()._step(z, state)
        return score, (new.mean(0, keepdim=True).expand_as(new),)


class TimeFirst(Autoregression):
    def _empty_state(self, batch):
        return (super()._empty_state(batch).transpose(0, 1),)


class Hoards(Autoregression):
    def _empty_state(self, batch):
        return (*super()._empty_state(batch), torch.zeros(batch, 0))

    def _step(self, z, state):
        score, new = super()._step(z, state[:1])
        return score, (*new, torch.cat([state[1], z[:, 0, :1]], 1))


class Poisoned(Autoregression):
    def _step(self, z, state):
        return super()._step(z, state)[0], (z,)


class NeverBad(Autoregression):
    _finite = staticmethod(lambda score, x: score.nan_to_num(neginf=-1e20))


BROKEN = {
    CountsTheUnitsTwice: "steps_sum_to_the_whole",
    ForgetsTheHistory: "steps_sum_to_the_whole",
    WritesIntoItsState: "a_step_leaves_its_state_alone",
    RemembersByItself: "a_step_leaves_its_state_alone",
    OneStateForAll: "rows_have_states_of_their_own",
    TimeFirst: "rows_have_states_of_their_own",
    Hoards: "a_state_does_not_grow",
    Poisoned: "bad_windows_are_passed_over",
    NeverBad: "bad_windows_are_passed_over",
}


@pytest.mark.parametrize("cls", BROKEN)
def test_a_broken_model_is_caught_by_its_check(cls):
    register_model("broken")(cls)
    check = {str(check): check for check in density_model_checks(make(cls), SHAPES)}[BROKEN[cls]]
    with pytest.raises(AssertionError, match=BROKEN[cls]):
        check()
