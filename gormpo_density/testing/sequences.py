"""Checks of sequence models: the steps, and the state that they carry. Other models pass."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gormpo_density.base import FLOOR
from gormpo_density.sequence import SequenceModel
from gormpo_density.testing.claims import require, require_close, require_normal_scores
from gormpo_density.testing.subject import Subject

Model = SequenceModel[Any]
State = tuple[Tensor, ...]


def _of_sequences(check: Callable[[Model, list[Tensor]], None]) -> Callable[[Subject], None]:
    """Hand a check the fitted model and the rows cut into sub-windows, if it scores sequences."""

    def run(subject: Subject) -> None:
        model = subject.fitted
        if isinstance(model, SequenceModel):
            with torch.no_grad():
                check(model, _cut(model, torch.from_numpy(subject.rows)))

    run.__doc__ = check.__doc__
    return run


def _cut(model: Model, x: Tensor) -> list[Tensor]:
    return list(x.split(model.window, dim=1))


def _steps(model: Model, windows: Sequence[Tensor], state: State) -> tuple[Tensor, State]:
    """Score sub-windows one after another: (B, n) and the last state."""
    scores = []
    for window in windows:
        score, state = model.step(window, state)
        scores.append(score)
    return torch.stack(scores, 1), state


def _rows_of(state: State, rows: slice) -> State:
    parts = [tensor[rows] for tensor in state]
    make = getattr(state, "_make", tuple)  # a NamedTuple stays one
    kept: State = make(parts)
    return kept


@_of_sequences
def check_steps_sum_to_the_whole(model: Model, windows: list[Tensor]) -> None:
    """The scores of the steps sum to log_prob, and a history stands for its steps."""
    scores, _ = _steps(model, windows, model.init_state(len(windows[0])))
    whole = torch.cat(windows, 1)
    require_close(scores.sum(1), model.log_prob(whole), "sum of the steps")
    half = len(windows) // 2
    state = model.init_state(torch.cat([whole[:, :0], *windows[:half]], 1))
    require_close(_steps(model, windows[half:], state)[0], scores[:, half:], "after a history")


@_of_sequences
def check_a_step_leaves_its_state_alone(model: Model, windows: list[Tensor]) -> None:
    """A state can be gone on from twice: what one future does is not seen by another."""
    _, state = _steps(model, windows[:-1], model.init_state(len(windows[0])))
    before = [tensor.clone() for tensor in state]
    expected, _ = model.step(windows[-1], state)
    _steps(model, [window + 1 for window in windows], state)
    for old, new in zip(before, state, strict=True):
        require(torch.equal(old, new), "a step has changed the state it was given")
    require_close(model.step(windows[-1], state)[0], expected, "after another future", 0.0)


@_of_sequences
def check_rows_have_states_of_their_own(model: Model, windows: list[Tensor]) -> None:
    """A row's steps ignore the other rows; states are batch first, so that rows can be picked."""
    n = len(windows[0])
    expected, _ = _steps(model, windows, model.init_state(n))
    _, state = _steps(model, windows[:-1], model.init_state(n))
    require(all(len(tensor) == n for tensor in state), "a state is not batch first")
    for rows in (slice(0, 1), slice(3, 10)):
        own = [window[rows] for window in windows]
        alone, _ = _steps(model, own, model.init_state(len(own[0])))
        require_close(alone, expected[rows], "rows alone")
        last, _ = model.step(own[-1], _rows_of(state, rows))
        require_close(last, expected[rows, -1], "rows that go on alone")


@_of_sequences
def check_a_state_does_not_grow(model: Model, windows: list[Tensor]) -> None:
    """Far beyond the length of a sequence a step still works on a state of the same size."""
    _, state = _steps(model, windows[:1], model.init_state(len(windows[0])))
    sizes = [tensor.shape for tensor in state]
    scores, state = _steps(model, 3 * windows, state)
    require([tensor.shape for tensor in state] == sizes, "the state has changed its size")
    require_normal_scores(scores[:, -1], len(scores), "beyond a sequence")


@_of_sequences
def check_bad_windows_are_passed_over(model: Model, windows: list[Tensor]) -> None:
    """A sub-window that is not finite gets the floor and spoils no other row or later step."""
    n, bad = len(windows[0]), windows[0].clone()
    bad[0, 0, 0], bad[1, 0, -1] = torch.nan, torch.inf
    expected, _ = _steps(model, windows, model.init_state(n))
    scores, _ = _steps(model, [bad, *windows[1:]], model.init_state(n))
    require((scores[:2, 0] == FLOOR).all(), "a bad sub-window does not get the floor")
    require_close(scores[2:], expected[2:], "rows beside bad sub-windows")
    require_normal_scores(scores[:, 1:].amin(1), n, "steps after a bad sub-window")
