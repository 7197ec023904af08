"""The interface: every model scores how well a row or a window is supported by its data."""

import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from gormpo_density import fitting, persistence
from gormpo_density.arrays import (
    Data,
    DataT,
    check_finite,
    check_shape,
    event_shape_of,
    to_kind,
    to_tensor,
)
from gormpo_density.calibration import Calibration
from gormpo_density.decisions import CalibratedScorer
from gormpo_density.errors import DataError, GormpoDensityError, NotFittedError
from gormpo_density.fitting import FitOptions, History, Hooks, Losses, Trainable
from gormpo_density.seeding import reinitialise
from gormpo_density.standardize import Standardizer

PositiveInt = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]

#: The lowest score there is: what a non-finite or infinitely unlikely row gets.
FLOOR = -1e30


class DensityModel(Trainable, CalibratedScorer):
    """A score of how well data supports a row (D,) or a window (T, D): higher is more normal.

    A subclass gives `_log_prob` on standardised data, and `losses` if it is trained by gradient
    descent (or overrides `_fit`). Standardising, change of variables, checks, chunks, calibration
    and saving are done here, once. Every constructor argument is kept under its own name.

    Attributes:
        event_shape: (D,) for rows, (T, D) for windows.
        is_fitted: Whether `fit` or `load_model` has run.

    Args:
        input_dim: D for rows, (T, D) for windows.

    Raises:
        ConfigError: input_dim is not one or two positive numbers.
    """

    chunk_rows: ClassVar[int] = 2048  # fits the second-level cache of a CPU core
    sized_by_fit: ClassVar[frozenset[str]] = frozenset()  # buffers whose shape the data decides

    def __init__(self, input_dim: int | Sequence[int]) -> None:
        super().__init__()
        self.event_shape = event_shape_of(input_dim)
        is_window = isinstance(input_dim, Sequence)
        self.input_dim = self.event_shape if is_window else self.event_shape[0]
        self.standardizer = Standardizer(self.event_shape)
        self.calibrations: dict[str, Calibration] = {}
        self.hand_threshold: float | None = None
        self.is_fitted = False

    @abstractmethod
    def _log_prob(self, z: Tensor) -> Tensor:
        """Default score (B,) of standardised z (B, *event_shape), differentiable."""

    def _score(self, z: Tensor, name: str) -> Tensor:
        """Score called `name` (B,) of standardised z; models with several scores override it."""
        return self._log_prob(z)

    def losses(
        self, z: Tensor, generator: torch.Generator | None = None, progress: float = 1.0
    ) -> Losses:
        """Return the training loss in nats, by default the mean negative log-probability.

        See `Trainable.losses` for the arguments.
        """
        return {"loss": -self._log_prob(z).mean()}

    def _fit(self, splits: dict[str, Tensor], options: FitOptions, hooks: Hooks) -> History:
        """Fit to standardised "train", "val" and perhaps "test" data; closed forms override it."""
        return fitting.Trainer(self, splits, options).run(hooks)

    def _sample(self, num_samples: int, generator: torch.Generator) -> Tensor:
        """Draw standardised samples (num_samples, *event_shape)."""
        raise GormpoDensityError(f"{type(self).__name__} cannot be sampled from")

    def fit(
        self,
        train_data: Data,
        val_data: Data | None = None,
        test_data: Data | None = None,
        *,
        epochs: PositiveInt = 100,
        batch_size: PositiveInt = 256,
        lr: Positive = 3e-3,
        weight_decay: NonNegative = 1e-2,
        noise: NonNegative = 0.05,
        grad_clip: Positive = 5.0,
        patience: PositiveInt = 20,
        seed: int = 0,
        checkpoint: str | Path | None = None,
        on_epoch: Callable[[int, dict[str, float]], None] | None = None,
        progress: bool = False,
    ) -> History:
        """Fit from scratch; old weights and calibrations are dropped.

        Args:
            train_data: (N, *event_shape), data units, numpy or tensor. Statistics come from it.
            val_data: Rows that stop the training; a random tenth of train_data when absent.
            test_data: Rows only measured after each epoch.
            epochs: Most passes over the data; the learning rate falls to zero along them.
            batch_size: Rows in a step.
            lr: Peak learning rate of AdamW.
            weight_decay: Decoupled weight decay.
            noise: Standard deviation of Gaussian noise on training rows, standardised units.
            grad_clip: Largest gradient norm.
            patience: Epochs without a better validation loss before training stops.
            seed: Fixes weights, order and noise; the global random state is left alone.
            checkpoint: File written after every epoch; if it exists, training goes on from it.
            on_epoch: Called with the epoch (from 1) and its row of the history.
            progress: Show a progress bar.

        Returns:
            History: one list per curve (train_loss, val_loss, test_loss, and parts of the loss
            such as train_kl), one entry per epoch, in nats of standardised data.

        Raises:
            ShapeError: Data is not (N, *event_shape).
            DataError: A value is NaN or infinite (column named), or there are too few rows.
            ConfigError: Options are out of range; all are told.
            FitError: The loss stopped being a number (epoch and batch named).
        """
        options = FitOptions(
            epochs, batch_size, lr, weight_decay, noise, grad_clip, patience, seed
        )
        splits = self._splits(train_data, val_data, test_data, seed)
        self._reset(seed)
        self.standardizer.fit(splits["train"])
        standardised = {name: self.standardizer(x) for name, x in splits.items()}
        hooks = Hooks(None if checkpoint is None else Path(checkpoint), on_epoch, progress)
        history = self._fit(standardised, options, hooks)
        self.is_fitted = True
        self.eval()
        return history

    def _splits(
        self, train: Data, val: Data | None, test: Data | None, seed: int
    ) -> dict[str, Tensor]:
        given = {"train": train, "val": val, "test": test}
        data = {k: self._checked(v, f"{k}_data") for k, v in given.items() if v is not None}
        if val is None:
            data["train"], data["val"] = fitting.hold_out(data["train"], seed)
        if len(data["train"]) < 2 or not all(len(rows) for rows in data.values()):
            counts = {name: len(rows) for name, rows in data.items()}
            raise DataError(f"too few rows to fit: {counts}")
        return data

    def _reset(self, seed: int) -> None:
        """Draw fresh weights under a seed of their own and forget what was learnt."""
        reinitialise(self, seed)
        self.calibrations.clear()
        self.hand_threshold = None
        self.is_fitted = False

    def reset_parameters(self) -> None:
        """Set what the layers' own resets do not; called last, under the seed."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Default score of x in nats of data units; see `score_kind` for what it is.

        log p(x) = log p_z((x - mean) / scale) - sum log scale. Values are not checked and
        nothing waits for the device.

        Args:
            x: (B, *event_shape), data units, on the model's device.

        Returns:
            (B,), higher is more normal, differentiable in x.

        Raises:
            ShapeError: x is not (B, *event_shape).
        """
        return self._named_score(x, self.default_score)

    def score_samples(self, x: DataT, score: str | None = None) -> DataT:
        """Score rows without gradients, deterministically, in chunks.

        A row's score does not depend on the other rows. Non-finite rows of a tensor get the
        lowest score, `FLOOR`; in a numpy array they are an error.

        Args:
            x: (B, *event_shape), data units.
            score: A name of `scores`; the default one when absent.

        Returns:
            (B,), finite, higher is more normal; numpy for numpy, else on x's device.

        Raises:
            NotFittedError: The model was never fitted.
            ShapeError: x is not (B, *event_shape).
            DataError: A value of a numpy array is NaN or infinite (column named).
            ConfigError: The model has no such score.
        """
        name = self.score_name(score)
        self._require_fitted()
        check_shape(x, self.event_shape, "x")
        if not isinstance(x, Tensor):
            check_finite(x, "x")
        rows = to_tensor(x, self.standardizer.mean)
        out = rows.new_empty(len(rows))
        chunk = self.chunk_rows if rows.device.type == "cpu" else 64 * self.chunk_rows
        with torch.inference_mode():
            for start in range(0, len(rows), chunk):
                part = slice(start, start + chunk)
                out[part] = self._finite(self._named_score(rows[part], name), rows[part])
        return to_kind(out, x)

    def _named_score(self, x: Tensor, name: str) -> Tensor:
        check_shape(x, self.event_shape, "x")
        z = self.standardizer(x)
        score = self._log_prob(z) if name == self.default_score else self._score(z, name)
        if self.scores[name] == "surrogate":
            return score
        return score + self.standardizer.log_abs_det

    @staticmethod
    def _finite(score: Tensor, x: Tensor) -> Tensor:
        usable = x.flatten(1).isfinite().all(1)
        score = torch.where(usable, score, FLOOR)
        return score.nan_to_num(nan=FLOOR, neginf=FLOOR).clamp(min=FLOOR)

    def sample(self, num_samples: int, seed: int | None = None) -> Tensor:
        """Draw (num_samples, *event_shape) in data units; a seed makes it reproducible."""
        self._require_fitted()
        generator = torch.Generator(self.device)
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        with torch.no_grad():
            return self.standardizer.inverse(self._sample(num_samples, generator))

    def params(self) -> dict[str, Any]:
        """Return the constructor arguments, without the device."""
        names = inspect.signature(type(self).__init__).parameters
        return {n: getattr(self, n) for n in names if n not in ("self", "device")}

    def extra_repr(self) -> str:
        """Show the constructor arguments; by them a checkpoint of another model is told."""
        return ", ".join(f"{name}={value!r}" for name, value in self.params().items())

    def save(self, folder: str | Path) -> None:
        """Save weights, parameters and calibrations; `gormpo_density.load_model` reads them."""
        self._require_fitted()
        persistence.save_model_folder(self, folder)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over a saved state dict; the model counts as fitted afterwards."""
        for name in self.sized_by_fit & state.keys():
            setattr(self, name, torch.empty_like(state[name]))
        self.load_state_dict(dict(state))
        self.is_fitted = True
        self.eval()

    def save_model(self, prefix: str | Path, train_data: Data | None = None) -> None:
        """Write GORMPO's pair `{prefix}_model.pth` and `{prefix}_meta_data.pkl`.

        Mean and std of the scores of train_data, when given, are stored with it.
        """
        self._require_fitted()
        persistence.save_pair(self, Path(prefix), train_data)

    @classmethod
    def load_model(
        cls, prefix: str | Path, hidden_dims: Sequence[int] | None = None
    ) -> dict[str, Any]:
        """Load a pair written by `save_model`, as {"model", "thr", "mean", "std"}.

        GORMPO's own VAE and RealNVP are read too; see `gormpo_density.compat`.
        Stored hidden_dims that differ from given ones are a ModelFileError, as is a file that is
        missing, corrupt, hostile, or of another model.
        """
        return persistence.load_pair(Path(prefix), cls, hidden_dims)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.standardizer.mean.device

    def _checked(self, data: Data, name: str) -> Tensor:
        check_shape(data, self.event_shape, name)
        rows = to_tensor(data, self.standardizer.mean)
        check_finite(rows, name)  # after conversion: 1e300 is infinite as float32
        return rows

    def _require_fitted(self) -> None:
        if not self.is_fitted:
            raise NotFittedError(f"{type(self).__name__}: call fit or load_model first")


class LatentModel(DensityModel):
    """A density model with a latent space: x -> z -> x."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Return the latent z (B, latent_dim) of x (B, *event_shape), data units.

        The posterior mean for a VAE; for a flow the exact z.
        """

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Return x (B, *event_shape), data units, from z (B, latent_dim)."""
