"""Recurrent autoencoder: how badly a window is rebuilt from the last state of a recurrent net."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from gormpo_density.arrays import Data
from gormpo_density.base import LatentModel
from gormpo_density.decisions import ScoreKind
from gormpo_density.errors import ConfigError, DataError
from gormpo_density.fitting import FitOptions, History, Hooks, Losses, hold_out
from gormpo_density.models.shrunk_gaussian import ShrunkGaussian

CellName = Literal["gru", "lstm", "rnn"]
LossName = Literal["mse", "mae", "mse_auc", "mae_auc"]
#: The hidden state of one layer, with the cell state of an LSTM beside it.
LayerState = Tensor | tuple[Tensor, Tensor]

_LAYERS: Mapping[str, Callable[..., nn.Module]] = {
    "gru": nn.GRU,
    "lstm": nn.LSTM,
    "rnn": nn.RNN,
}
_CELLS: Mapping[str, Callable[..., nn.Module]] = {
    "gru": nn.GRUCell,
    "lstm": nn.LSTMCell,
    "rnn": nn.RNNCell,
}
_LOSSES = ("mse", "mae", "mse_auc", "mae_auc")


class RecurrentAE(LatentModel):
    """Encoder-decoder of recurrent layers; the error of its reconstruction is scored.

    The encoder reads x(1) .. x(T); its last state h(T) is the latent, from which the decoder
    rebuilds the window backwards:

        x^(T) = A h(T) + b,    h(t) = cell(x^(t+1), h(t+1)),    x^(t) = A h(t) + b.

    A row (D,) is a window of one step. With e = x - x^ in standardised units, the scores are

    - window_nll: log N(e; mu, S), e the errors of the whole window (T * D,), S shrunk.
    - joint_nll: window_nll + log N(h(T); m, C): a window that is rebuilt well but whose latent is
      unlike any other is strange too.
    - gaussian_nll: sum_t log N(e(t); mu, S), e(t) the errors (D,) of one step: the paper's.
    - mse, mae: minus the mean of e^2 or of |e|.

    So each is minus what its name says, for higher is more normal. The Gaussians come from the
    validation rows. They are densities of errors and latents, not of x, since x^ depends on x:
    all scores only rank.

    Args:
        input_dim: (T, D) for windows, D for rows.
        latent_dim: Width of the layers' hidden states.
        cell: Kind of the layers, "gru", "lstm" or "rnn".
        num_layers: Layers of the encoder, and of the decoder; each starts from its counterpart.
        nonlinearity: Of an "rnn": "tanh" or "relu".
        teacher_forcing: In training, feed the decoder x(t+1) in place of x^(t+1).
        loss: "mse" or "mae" of the rows; with "_auc" a term that pushes labelled anomalies away:
            loss + lambda_auc (1 - mean_ij sigmoid(l(anomaly j) - l(row i))).
        lambda_auc: Weight of that term.
        device: Where to put the model.

    Raises:
        ConfigError: cell, loss or nonlinearity is none of those, or another cell than "rnn" has
            a nonlinearity.

    Source:
        Malhotra et al. 2016, "LSTM-based encoder-decoder for multi-sensor anomaly detection",
        arXiv:1607.00148, section 2. Differs: free-running training by default, the Gaussian of
        whole windows as the default score.
    """

    scores: ClassVar[Mapping[str, ScoreKind]] = {
        "window_nll": "surrogate",
        "joint_nll": "surrogate",
        "gaussian_nll": "surrogate",
        "mse": "surrogate",
        "mae": "surrogate",
    }

    def __init__(
        self,
        input_dim: int | Sequence[int],
        latent_dim: Annotated[int, Ge(1)] = 64,
        cell: CellName = "gru",
        num_layers: Annotated[int, Ge(1)] = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        teacher_forcing: bool = False,
        loss: LossName = "mse",
        lambda_auc: Annotated[float, Ge(0)] = 0.1,
        device: str = "cpu",
    ) -> None:
        super().__init__(input_dim)
        _check_words(cell, loss, nonlinearity)
        self.latent_dim = latent_dim
        self.cell = cell
        self.num_layers = num_layers
        self.nonlinearity = nonlinearity
        self.teacher_forcing = teacher_forcing
        self.loss = loss
        self.lambda_auc = lambda_auc
        self._steps, width = (1, *self.event_shape)[-2:]
        extra = {"nonlinearity": nonlinearity} if cell == "rnn" else {}
        self.encoder_net = _LAYERS[cell](width, latent_dim, num_layers, batch_first=True, **extra)
        self.decoder_cells = nn.ModuleList(
            _CELLS[cell](latent_dim if layer else width, latent_dim, **extra)
            for layer in range(num_layers)
        )
        self.output = nn.Linear(latent_dim, width)
        self.window_errors = ShrunkGaussian(self._steps * width)
        self.point_errors = ShrunkGaussian(width)
        states = 2 if cell == "lstm" else 1
        self.latents = ShrunkGaussian(states * num_layers * latent_dim)
        self._anomalies: Data | None = None  # both are there while fit runs, and no longer
        self._labelled: dict[str, Tensor] = {}
        self._reset(seed=0)
        self.to(device)

    @property
    def needs_anomalies(self) -> bool:
        """Whether the loss tells labelled anomalies from normal windows."""
        return self.loss.endswith("_auc")

    def fit(
        self,
        train_data: Data,
        val_data: Data | None = None,
        test_data: Data | None = None,
        *,
        anomalies: Data | None = None,
        **options: Any,
    ) -> History:
        """Fit as every model does; the losses are of standardised data.

        Args:
            train_data: Normal windows (N, *event_shape), data units.
            val_data: Normal windows that stop the training and tell how errors are distributed;
                a random tenth of train_data when absent.
            test_data: Windows only measured.
            anomalies: Labelled anomalies (M, *event_shape), for a loss with "_auc". Every step
                draws as many of them as of rows; a random tenth is kept for the validation loss.
            options: The other options of `DensityModel.fit`.

        Raises:
            ConfigError: The loss needs anomalies and there are none, or the reverse.
            DataError: There are fewer than 2 validation rows or anomalies.
        """
        if (anomalies is not None) != self.needs_anomalies:
            need = "takes no" if anomalies is not None else "needs"
            raise ConfigError(f"loss {self.loss!r} {need} anomalies: fit(..., anomalies=...)")
        self._anomalies = anomalies
        try:
            return super().fit(train_data, val_data, test_data, **options)
        finally:
            self._anomalies, self._labelled = None, {}

    def _splits(
        self, train: Data, val: Data | None, test: Data | None, seed: int
    ) -> dict[str, Tensor]:
        splits = super()._splits(train, val, test, seed)
        counted = {"validation rows": splits["val"]}
        if self._anomalies is not None:
            anomalies = counted["anomalies"] = self._checked(self._anomalies, "anomalies")
            splits["anomalies"], splits["val_anomalies"] = hold_out(anomalies, seed)
        for name, rows in counted.items():
            if len(rows) < 2:
                raise DataError(f"{len(rows)} {name} are too few, 2 are needed")
        return splits

    def _fit(self, splits: dict[str, Tensor], options: FitOptions, hooks: Hooks) -> History:
        self._labelled = {name: splits[name] for name in splits if "anomalies" in name}
        history = super()._fit(splits, options, hooks)
        with torch.no_grad():
            chunks = splits["val"].split(self.chunk_rows)
            errors = torch.cat([self._errors(chunk) for chunk in chunks])
            self.latents.fit(torch.cat([self._latent(chunk) for chunk in chunks]))
        self.window_errors.fit(errors.flatten(1))
        self.point_errors.fit(errors.flatten(0, 1))
        return history

    def losses(
        self, z: Tensor, generator: torch.Generator | None = None, progress: float = 1.0
    ) -> Losses:
        """Return the loss as a batch mean; with "_auc" also its parts, reconstruction and auc."""
        is_training = generator is not None
        sizes = self._sizes(self._errors(z, is_forced=is_training and self.teacher_forcing))
        if not self.loss.endswith("_auc"):
            return {"loss": sizes.mean()}
        others = self._sizes(self._errors(self._some_anomalies(len(z), generator)))
        auc = (others - sizes[:, None]).sigmoid().mean()
        loss = sizes.mean() + self.lambda_auc * (1 - auc)
        return {"loss": loss, "reconstruction": sizes.mean(), "auc": auc}

    def _some_anomalies(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Draw n training anomalies; in evaluation, return all that are held out."""
        if not self._labelled:
            raise ConfigError(f"loss {self.loss!r} needs anomalies, which only fit is given")
        if generator is None:
            return self._labelled["val_anomalies"]
        rows = self._labelled["anomalies"]
        return rows[torch.randint(len(rows), (n,), generator=generator, device=rows.device)]

    def _sizes(self, errors: Tensor) -> Tensor:
        """Mean size (B,) of errors (B, T, D), as the loss has it."""
        sizes = errors.square() if self.loss.startswith("mse") else errors.abs()
        return sizes.mean((1, 2))

    def _log_prob(self, z: Tensor) -> Tensor:
        return self.window_errors(self._errors(z).flatten(1))

    def _score(self, z: Tensor, name: str) -> Tensor:
        latent = self._latent(z)
        errors = _as_windows(z) - self._rebuild(latent)
        match name:
            case "joint_nll":
                return self.window_errors(errors.flatten(1)) + self.latents(latent)
            case "gaussian_nll":
                return self.point_errors(errors).sum(1)
            case "mse":
                return -errors.square().mean((1, 2))
            case _:
                return -errors.abs().mean((1, 2))

    def _errors(self, z: Tensor, is_forced: bool = False) -> Tensor:
        """Return z minus its reconstruction, (B, T, D)."""
        windows = _as_windows(z)
        return windows - self._rebuild(self._latent(z), windows if is_forced else None)

    def _latent(self, z: Tensor) -> Tensor:
        """Last states of all layers side by side, an LSTM's cell states behind the hidden ones."""
        _, state = self.encoder_net(_as_windows(z))
        states = torch.cat(state) if self.cell == "lstm" else state
        return states.transpose(0, 1).flatten(1)

    def _rebuild(self, latent: Tensor, forced: Tensor | None = None) -> Tensor:
        """Run the decoder from the last step to the first, on its own output or on `forced`."""
        states = self._layer_states(latent)
        points = [self.output(_hidden(states[-1]))]
        for t in range(1, self._steps):
            x = points[-1] if forced is None else forced[:, -t]
            for layer, cell in enumerate(self.decoder_cells):
                states[layer] = cell(x, states[layer])
                x = _hidden(states[layer])
            points.append(self.output(x))
        return torch.stack(points[::-1], dim=1)

    def _layer_states(self, latent: Tensor) -> list[LayerState]:
        states = list(latent.unflatten(1, (-1, self.latent_dim)).unbind(1))
        if self.cell == "lstm":
            hidden, cells = states[: self.num_layers], states[self.num_layers :]
            return list(zip(hidden, cells, strict=True))
        return [*states]

    def encode(self, x: Tensor) -> Tensor:
        """Return the encoder's last states (B, num_layers * latent_dim), x in data units.

        For an LSTM twice as many: the cell states are behind the hidden ones.
        """
        return self._latent(self.standardizer(x))

    def decode(self, z: Tensor) -> Tensor:
        """Return the free-running reconstruction (B, *event_shape), data units, of a latent."""
        return self.standardizer.inverse(self._rebuild(z).reshape(-1, *self.event_shape))


def _as_windows(z: Tensor) -> Tensor:
    """Take a row (D,) as a window (1, D)."""
    return z if z.ndim == 3 else z[:, None]


def _hidden(state: LayerState) -> Tensor:
    return state[0] if isinstance(state, tuple) else state


def _check_words(cell: str, loss: str, nonlinearity: str) -> None:
    choices = {"cell": (cell, _CELLS), "loss": (loss, _LOSSES)}
    choices["nonlinearity"] = (nonlinearity, ("tanh", "relu") if cell == "rnn" else ("tanh",))
    problems = [
        f"{name} must be one of {', '.join(known)}, is {word!r}"
        for name, (word, known) in choices.items()
        if word not in known
    ]
    if problems:
        raise ConfigError(problems)
