"""What every baseline can do: the interface of a `DensityModel`, without a gradient."""

import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gormpo_density.arrays import (
    Data,
    DataT,
    check_finite,
    check_shape,
    event_shape_of,
    to_kind,
    to_tensor,
)
from gormpo_density.base import FLOOR, DensityModel
from gormpo_density.decisions import CalibratedScorer, ScoreKind
from gormpo_density.errors import ConfigError, DataError, NotFittedError
from gormpo_density.fitting import History
from gormpo_density.standardize import Standardizer

Rows = NDArray[np.float64]
State = dict[str, Rows]

#: Rows further off than this count as this far off, so that no square overflows.
_FARTHEST = 1e14
#: Most rows of a split that the history is a mean of.
_MEASURED_ROWS = 1000


class Baseline(CalibratedScorer):
    """A score of rows or windows that hardly learns, or learns by a textbook method.

    It fits, scores, calibrates and decides as a `DensityModel` does, but has no gradient and no
    units: its one score is a surrogate. Channels are standardised first, so all count alike. A
    subclass gives `_estimate`, whose arrays are all that is learnt, and `_score`.

    Attributes:
        event_shape: (D,) for rows, (T, D) for windows.

    Args:
        input_dim: D for rows, (T, D) for windows (flattened inside).

    Raises:
        ConfigError: input_dim is not one or two positive numbers.
    """

    scores: ClassVar[Mapping[str, ScoreKind]] = {"score": "surrogate"}

    def __init__(self, input_dim: int | Sequence[int]) -> None:
        self.event_shape = event_shape_of(input_dim)
        self.input_dim = self.event_shape if isinstance(input_dim, Sequence) else input_dim
        self.calibrations = {}
        self.hand_threshold = None
        self._standardizer = Standardizer(self.event_shape).double()
        self._learnt: State | None = None

    @abstractmethod
    def _estimate(self, z: Rows, seed: int) -> State:
        """Return the arrays that `_score` needs, from standardised rows (N, T * D)."""

    @abstractmethod
    def _score(self, z: Rows, learnt: State) -> Rows:
        """Return scores (B,) of standardised rows (B, T * D), higher is more normal."""

    def fit(
        self,
        train_data: Data,
        val_data: Data | None = None,
        test_data: Data | None = None,
        *,
        seed: int = 0,
        on_epoch: Callable[[int, dict[str, float]], None] | None = None,
        **options: Any,
    ) -> History:
        """Fit from scratch to train_data; old calibrations are dropped.

        Args:
            train_data: (N, *event_shape), data units, numpy or tensor.
            val_data: Rows only measured.
            test_data: Rows only measured.
            seed: Fixes what is random.
            on_epoch: Called once, with 1 and the row of the history.
            options: Other options of `DensityModel.fit`; none has an effect.

        Returns:
            Minus the mean score of rows spread over each split, for instance "train_loss", one
            entry each.

        Raises:
            ShapeError: Data is not (N, *event_shape).
            DataError: A value is NaN or infinite (column named), or there are too few rows.
            ConfigError: `DensityModel.fit` has no such option.
        """
        known = inspect.signature(DensityModel.fit).parameters
        if unknown := sorted(options.keys() - known.keys()):
            raise ConfigError([f"fit has no option {word!r}" for word in unknown])
        given = {"train": train_data, "val": val_data, "test": test_data}
        splits = {k: self._checked(x, f"{k}_data") for k, x in given.items() if x is not None}
        if len(splits["train"]) < 2 or not all(map(len, splits.values())):
            raise DataError(f"too few rows to fit: { {k: len(x) for k, x in splits.items()} }")
        self.calibrations.clear()
        self.hand_threshold = None
        self._standardizer.fit(splits["train"])
        self._learnt = self._estimate(self._standardised(splits["train"]), seed)
        row = {
            f"{k}_loss": -self.score_samples(_spread(x)).mean().item() for k, x in splits.items()
        }
        if on_epoch is not None:
            on_epoch(1, row)
        return {name: [loss] for name, loss in row.items()}

    def score_samples(self, x: DataT, score: str | None = None) -> DataT:
        """Score rows; the contract is that of `DensityModel.score_samples`.

        Args:
            x: (B, *event_shape), data units.
            score: None or "score".

        Returns:
            (B,) in float64, finite, higher is more normal; numpy for numpy, else on x's device.

        Raises:
            NotFittedError: `fit` was not called.
            ShapeError: x is not (B, *event_shape).
            DataError: A value of a numpy array is NaN or infinite (column named).
            ConfigError: There is no such score.
        """
        self.score_name(score)
        learnt = self._require_fitted()
        check_shape(x, self.event_shape, "x")
        if not isinstance(x, Tensor):
            check_finite(x, "x")
        rows = to_tensor(x, self._standardizer.mean).detach()
        scores = np.full(len(rows), FLOOR)
        usable = rows.flatten(1).isfinite().all(1)
        if usable.any():  # scikit-learn takes no empty arrays
            scores[usable.numpy()] = self._score(self._standardised(rows[usable]), learnt)
        return to_kind(torch.from_numpy(scores), x)

    def params(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        names = inspect.signature(type(self).__init__).parameters
        return {name: getattr(self, name) for name in names if name != "self"}

    def state(self) -> State:
        """Return all that was learnt as arrays; with `params` they are the baseline.

        Raises:
            NotFittedError: `fit` was not called.
            GormpoDensityError: It holds more than arrays, and a pickle can run code when read.
        """
        learnt = self._require_fitted()
        units = self._standardizer.state_dict().items()
        return {**learnt, **{f"standardizer.{k}": v.numpy().copy() for k, v in units}}

    def restore(self, state: Mapping[str, Rows]) -> None:
        """Take over what `state` returned; the baseline counts as fitted afterwards."""
        units = {
            name: torch.from_numpy(state[f"standardizer.{name}"]) for name in ("mean", "scale")
        }
        self._standardizer.load_state_dict(units)
        self._learnt = {k: v for k, v in state.items() if not k.startswith("standardizer.")}

    def _checked(self, data: Data, name: str) -> Tensor:
        check_shape(data, self.event_shape, name)
        check_finite(data, name)
        return to_tensor(data, self._standardizer.mean).detach()

    def _standardised(self, rows: Tensor) -> Rows:
        z: Rows = self._standardizer(rows).flatten(1).numpy()
        return z.clip(-_FARTHEST, _FARTHEST)

    def _require_fitted(self) -> State:
        if self._learnt is None:
            raise NotFittedError(f"{type(self).__name__}: call fit or restore first")
        return self._learnt


def _spread(rows: Tensor) -> Tensor:
    return rows[:: -(-len(rows) // _MEASURED_ROWS)]
