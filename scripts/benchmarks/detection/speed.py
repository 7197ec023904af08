"""Part "speed": windows a second beside a plain `nn.LSTM`, and the time of a step of a stream.

Everything is in CPU seconds of one thread. What is compared is taken in turn, round by round; a
ratio is the median over rounds of the ratio in one round, with a median's 95 % interval.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import peers
from benchmarks.cells import Bench, Cell
from benchmarks.tables import median_interval, show, table
from benchmarks.timing import interleaved
from gormpo_density import VAELSTM, RecurrentAE
from gormpo_density.timeseries.detector import TimeSeriesDetector

#: Windows of all models: 48 rows of 3 channels, 12 sub-windows of 4; 64 hidden units.
STEPS, CHANNELS, PARTS, HIDDEN = 48, 3, 12, 64
LOCAL = STEPS // PARTS


@dataclass(frozen=True)
class Scale:
    """How much is measured: rounds, windows trained on and scored in each, points streamed."""

    rounds: int = 9
    batch: int = 256
    trained: int = 1_024
    scored: int = 4_096
    streamed: int = 200


QUICK = Scale(1, 32, 64, 64, 10)

#: CPU seconds of every round, by what was timed.
Seconds = dict[str, list[float]]


class LSTMAutoencoder(nn.Module):
    """The usual plain one: encode by an LSTM, repeat its last state, decode by another."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(CHANNELS, HIDDEN, batch_first=True)
        self.decoder = nn.LSTM(HIDDEN, HIDDEN, batch_first=True)
        self.output = nn.Linear(HIDDEN, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """Return the squared error of each window (B, T, D), shape (B,)."""
        _, (hidden, _) = self.encoder(x)
        repeated = hidden[-1][:, None].expand(-1, x.shape[1], -1)
        return (self.output(self.decoder(repeated)[0]) - x).square().mean((1, 2))


class LSTMForecaster(nn.Module):
    """A plain LSTM that predicts each sub-window from those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(LOCAL * CHANNELS, HIDDEN, batch_first=True)
        self.output = nn.Linear(HIDDEN, LOCAL * CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """Return the squared error of each window (B, T, D), shape (B,)."""
        parts = x.reshape(len(x), PARTS, -1)
        predicted = self.output(self.lstm(parts[:, :-1])[0])
        return (predicted - parts[:, 1:]).square().mean((1, 2))


def report(bench: Bench) -> str:
    """Measure what is missing and return the tables."""
    scale = QUICK if bench.quick else Scale()
    machine = (
        f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread. "
        f"Windows of {STEPS} x {CHANNELS}, {HIDDEN} hidden units; the forecasters take {PARTS} "
        f"sub-windows of {LOCAL} rows."
    )
    training = _result(bench, scale, "train", partial(_training, scale))
    scoring = _result(bench, scale, "score", partial(_scoring, scale))
    streaming = _result(bench, scale, "stream", partial(_streaming, scale))
    return "\n\n".join(
        [
            machine,
            f"## Training, batches of {scale.batch}\n\n{_rates(training, scale.trained)}",
            f"## Scoring {scale.scored:,} windows\n\n{_rates(scoring, scale.scored)}",
            f"## Streaming, one point at a time\n\n{_steps(streaming, scale.streamed)}",
        ]
    )


def _result(bench: Bench, scale: Scale, what: str, measure: Callable[[], Seconds]) -> Seconds:
    settings = {"versions": peers.versions("torch"), "scale": str(scale)}
    return bench.result(Cell("speed", what, "all"), settings, measure)


def _models() -> dict[str, VAELSTM | RecurrentAE]:
    sizes: dict[str, Any] = {"window": LOCAL, "sequence_length": PARTS}
    return {
        "VAELSTM": VAELSTM(CHANNELS, **sizes, lstm_hidden_dim=HIDDEN),
        "RecurrentAE, lstm": RecurrentAE((STEPS, CHANNELS), HIDDEN, "lstm"),
        "RecurrentAE, gru": RecurrentAE((STEPS, CHANNELS), HIDDEN, "gru"),
    }


def _plain() -> dict[str, nn.Module]:
    return {"nn.LSTM forecaster": LSTMForecaster(), "nn.LSTM autoencoder": LSTMAutoencoder()}


def _training(scale: Scale) -> Seconds:
    """Time one loop of loss, backward and Adam for all: the plain ones' loss is their error."""
    losses: dict[str, tuple[nn.Module, Callable[[Tensor], Tensor]]] = {
        name: (plain, partial(_mean_error, plain)) for name, plain in _plain().items()
    }
    generator = torch.Generator().manual_seed(0)
    for name, model in _models().items():
        loss = partial(_model_loss, model, generator)
        losses[name if name != "VAELSTM" else "VAELSTM, joint phase"] = (model, loss)
    vae = _models()["VAELSTM"].vae
    losses["VAELSTM, VAE phase"] = (vae, partial(_vae_loss, vae, generator))
    calls = {name: _trainer(*pair, scale) for name, pair in losses.items()}
    return interleaved(calls, scale.rounds)


def _mean_error(plain: nn.Module, x: Tensor) -> Tensor:
    return plain(x).mean()


def _model_loss(model: Any, generator: torch.Generator, x: Tensor) -> Tensor:
    return model.losses(x, generator)["loss"]


def _vae_loss(vae: Any, generator: torch.Generator, x: Tensor) -> Tensor:
    return vae.losses(x.reshape(-1, LOCAL, CHANNELS), generator)["loss"]


def _trainer(
    module: nn.Module, loss: Callable[[Tensor], Tensor], scale: Scale
) -> Callable[[], None]:
    batches = _random_windows(scale.trained).split(scale.batch)
    optimizer = torch.optim.Adam(module.parameters(), 1e-4, fused=True)

    def train() -> None:
        for windows in batches:
            optimizer.zero_grad()
            loss(windows).backward()
            optimizer.step()

    return train


def _scoring(scale: Scale) -> Seconds:
    windows = _random_windows(scale.scored)
    calls: dict[str, Callable[[], object]] = {
        name: partial(_score_plain, plain, windows) for name, plain in _plain().items()
    }
    for name, model in _models().items():
        model.is_fitted = True  # speed does not depend on the weights
        scores = {"elbo": "VAELSTM, elbo", "prediction": "VAELSTM, prediction"}
        if name != "VAELSTM":
            scores = {model.default_score: name}
        for score, row in scores.items():
            calls[row] = partial(model.score_samples, windows, score)
    return interleaved(calls, scale.rounds)


@torch.inference_mode()
def _score_plain(plain: nn.Module, windows: Tensor) -> Tensor:
    return torch.cat([plain(part) for part in windows.split(1024)])


def _streaming(scale: Scale) -> Seconds:
    """Time updates of a detector's stream, whose score is of the last window of 48 points."""
    series = _random_windows(40).reshape(-1, CHANNELS).numpy()
    points = series[: scale.streamed]
    calls: dict[str, Callable[[], object]] = {}
    for name in ("vae_lstm", "recurrent_ae", "vae", "pca", "zscore"):
        model = {"name": name, **({"window": LOCAL} if name == "vae_lstm" else {})}
        detector = TimeSeriesDetector(model, window=STEPS)
        detector.fit(series, epochs=1)
        stream = detector.stream()
        for point in series[:STEPS]:
            stream.update(point)
        calls[f"{name}, whole window"] = partial(_stream, stream, points)
    carried = _models()["VAELSTM"]
    carried.is_fitted = True
    calls[f"VAELSTM.step, {LOCAL} points"] = partial(_step, carried, torch.from_numpy(points))
    calls["nn.LSTM, one point"] = partial(_step_plain, torch.from_numpy(points))
    return interleaved(calls, scale.rounds)


def _stream(stream: Any, points: np.ndarray[Any, Any]) -> None:
    for point in points:
        stream.update(point)


@torch.inference_mode()
def _step(model: VAELSTM, points: Tensor) -> None:
    state = model.init_state()
    for part in points[: len(points) // LOCAL * LOCAL].reshape(-1, 1, LOCAL, CHANNELS):
        _, state = model.step(part, state)


@torch.inference_mode()
def _step_plain(points: Tensor) -> None:
    lstm, state = nn.LSTM(CHANNELS, HIDDEN, batch_first=True), None
    for point in points:
        _, state = lstm(point[None, None], state)


def _random_windows(n: int) -> Tensor:
    return torch.randn(n, STEPS, CHANNELS, generator=torch.Generator().manual_seed(0))


def _rates(seconds: Seconds, n: int) -> str:
    """Return windows a second, and the speed over the plain model of the same kind."""
    rows = []
    for name, times in seconds.items():
        is_recurrent_ae = name.startswith("RecurrentAE")
        plain = "nn.LSTM autoencoder" if is_recurrent_ae else "nn.LSTM forecaster"
        ratio = ""
        if not name.startswith("nn."):
            pairs = zip(seconds[plain], times, strict=True)
            ratio = show(median_interval([theirs / own for theirs, own in pairs]), 2)
        rows.append([name, f"{n / median(times):,.0f}", ratio])
    return table(["model", "windows a second", "speed over the plain one of its kind"], rows)


def _steps(seconds: Seconds, n: int) -> str:
    rows = [[name, f"{1e6 * median(times) / n:,.0f}"] for name, times in seconds.items()]
    return table(["stream", "CPU microseconds a point"], rows)
