"""The interface of sequence models: a window scored part by part, with a carried state."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from gormpo_density.arrays import check_finite, check_shape
from gormpo_density.base import DensityModel
from gormpo_density.calibration import Calibration
from gormpo_density.errors import ConfigError, ShapeError

State = TypeVar("State", bound="tuple[Tensor, ...]")
M = TypeVar("M", bound="SequenceModel[Any]")


class SequenceModel(DensityModel, Generic[State]):
    """A density of sequences, log p(w_1, ..., w_T) = sum_t log p(w_t | w_<t), one term at a time.

    A sequence is T = sequence_length consecutive sub-windows w_t of `window` time steps each, so
    that event_shape is (window * T, n_features). What the model remembers of w_<t is its state: a
    tuple of tensors, batch first, of a size that does not grow. `(t[rows] for t in state)` are
    the states of some rows.

        state = model.init_state(len(x))
        for w in x.split(model.window, dim=1):
            score, state = model.step(w, state)     # the scores sum to model.log_prob(x)

    A subclass gives `_empty_state` and `_step` besides what every `DensityModel` gives, and a
    constructor with at least the arguments below.

    A single step can have a threshold of its own, `calibrate_steps`, kept in `calibrations` under
    the name `STEP`, and one under `FIRST_STEP` where it is the first of a sequence; the scores of
    whole sequences are calibrated as those of every model are.

    Args:
        n_features: Channels D of a time step.
        window: Time steps of a sub-window.
        sequence_length: Sub-windows T of a sequence.

    Raises:
        ConfigError: One of them is not a positive integer.
    """

    #: Names under which `calibrations` has those of single steps: after others, and after none.
    STEP: ClassVar[str] = "step"
    FIRST_STEP: ClassVar[str] = "first_step"

    def __init__(self, n_features: int, window: int, sequence_length: int) -> None:
        sizes = {"n_features": n_features, "window": window, "sequence_length": sequence_length}
        if wrong := {name: n for name, n in sizes.items() if not (isinstance(n, int) and n > 0)}:
            raise ConfigError([f"{k} must be an integer > 0, is {n!r}" for k, n in wrong.items()])
        super().__init__((window * sequence_length, n_features))
        self.n_features = n_features
        self.window = window
        self.sequence_length = sequence_length

    @classmethod
    def of_shape(
        cls: type[M], input_dim: int | Sequence[int], window: int = 1, **params: Any
    ) -> M:
        """Build a model of sequences (L, D): n_features = D, sequence_length = L / window.

        Raises:
            ConfigError: input_dim is not (L, D), or no whole number of sub-windows.
        """
        if not isinstance(input_dim, Sequence) or len(input_dim) != 2:
            raise ConfigError(
                f"{cls.__name__} scores sequences: input_dim must be (L, D), is {input_dim!r}"
            )
        length, n_features = input_dim
        sizes = {"n_features": n_features, "sequence_length": length // max(1, window)}
        model = cls(window=window, **sizes | params)
        if model.event_shape != tuple(input_dim):
            raise ConfigError(
                f"{cls.__name__} with window {window} scores sequences {model.event_shape}, "
                f"input_dim is {tuple(input_dim)}"
            )
        return model

    @abstractmethod
    def _empty_state(self, batch: int) -> State:
        """Return the state of `batch` rows of which nothing has been seen."""

    @abstractmethod
    def _step(self, z: Tensor, state: State) -> tuple[Tensor, State]:
        """Score the next sub-window z (B, window, D), standardised: (B,) and the state after it.

        A score that is not finite must leave the state fit for what follows.
        """

    def init_state(self, history: Tensor | int = 1) -> State:
        """Return the state from which `step` goes on.

        Args:
            history: (B, n * window, D), what went before, in data units; or a number of rows
                that have seen nothing yet.

        Raises:
            ShapeError: The history is not whole sub-windows of D features.
        """
        if isinstance(history, int):
            return self._empty_state(history)
        if history.ndim != 3 or history.shape[1] % self.window:
            raise ShapeError(
                f"history must have shape (B, n * {self.window}, {self.n_features}), "
                f"got {tuple(history.shape)}"
            )
        state = self._empty_state(len(history))
        for start in range(0, history.shape[1], self.window):
            _, state = self.step(history[:, start : start + self.window], state)
        return state

    def step(self, window_t: Tensor, state: State) -> tuple[Tensor, State]:
        """Score the next sub-window given all before it, at a cost that does not grow.

        The steps from the empty state sum to `log_prob` of the whole sequence. Nothing waits for
        the device. A sub-window that is not finite gets `FLOOR` and is passed over: the state
        goes on as if it had not been measured.

        Args:
            window_t: (B, window, D), data units.
            state: Of B rows, from `init_state` or the step before.

        Returns:
            Default score (B,) in nats of data units, higher is more normal, and the next state.

        Raises:
            ShapeError: window_t is not (B, window, D).
        """
        check_shape(window_t, (self.window, self.n_features), "window_t")
        score, state = self._step(self.standardizer(window_t), state)
        if self.score_kind != "surrogate":
            score = score + self.standardizer.log_abs_det / self.sequence_length
        return self._finite(score, window_t), state

    @torch.no_grad()
    def calibrate_steps(
        self,
        window_t: Tensor,
        state: State,
        alpha: float = 0.05,
        n_episodes: int | None = None,
    ) -> Calibration:
        """Set the thresholds of single steps from those of normal sequences.

        log p(w_t | w_<t) is not of the order of log p(w_1), the less the better w_t follows from
        what went before. So there are two: for steps after others, and for first ones, for which
        the same sub-windows are scored as if nothing had gone before.

        Args:
            window_t: Sub-windows (n, window, D) of sequences that fitting never saw, data units.
            state: Of n rows: what was remembered of what went before each, at least something.
            alpha: False-alarm rate in (0, 1).
            n_episodes: Number of sequences the steps come from, kept beside the guarantee.

        Returns:
            That of steps after others; both are kept in `calibrations`.

        Raises:
            NotFittedError: The model was never fitted.
            ShapeError: window_t is not (n, window, D).
            DataError: There are no rows, a value is NaN or infinite (column named), or alpha is
                not in (0, 1).
        """
        self._require_fitted()
        states = {self.STEP: state, self.FIRST_STEP: self.init_state(len(window_t))}
        for name, before in states.items():
            scores, _ = self.step(window_t, before)
            check_finite(window_t, "window_t")
            self.calibrations[name] = Calibration.from_scores(scores, alpha, n_episodes)
        return self.calibrations[self.STEP]
