"""Rows a second of flows of equal size: training by one recipe, and scoring.

Equal size means 8 affine couplings with nets [256, 256] on 14 features; equal recipe, the same
loop of log_prob, backward and Adam.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks import peers
from benchmarks.cells import Bench, Cell
from benchmarks.peers import DIM, FLOW_LIBRARIES, SIZE, Flow
from benchmarks.tables import median_interval, show, table
from benchmarks.timing import interleaved
from gormpo_density import RealNVP

CHUNK = 2048


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        rounds: Of interleaved timings.
        trained: By batch size, the rows each flow trains on in a round.
        scored: Rows scored at once.
    """

    rounds: int = 15
    trained: tuple[tuple[int, int], ...] = ((256, 5_120), (4096, 12_288))
    scored: int = 50_000


QUICK = Scale(rounds=1, trained=((64, 128),), scored=3_000)


def report(bench: Bench) -> str:
    """Measure what is missing and return the tables."""
    scale = QUICK if bench.quick else Scale()
    training = [_training(bench, scale, batch, n_rows) for batch, n_rows in scale.trained]
    return "\n\n".join([*training, _scoring(bench, scale)])


def _ours() -> dict[str, RealNVP]:
    models = {
        "ours, permutation": RealNVP(DIM, **SIZE, mixing="permutation"),
        "ours, linear": RealNVP(DIM, **SIZE, mixing="linear"),
    }
    for model in models.values():
        model.is_fitted = True  # speed does not depend on the weights
    return models


def _training(bench: Bench, scale: Scale, batch: int, n_rows: int) -> str:
    def measure() -> dict[str, list[float]]:
        flows = {name: Flow(model, model.log_prob) for name, model in _ours().items()}
        contenders = flows | peers.flows()
        calls = {name: _trainer(flow, batch, n_rows) for name, flow in contenders.items()}
        return interleaved(calls, scale.rounds)

    settings = _settings(scale, batch=batch, rows=n_rows)
    seconds = bench.result(Cell("speed", f"train {batch}", "all"), settings, measure)
    return f"## Training, batches of {batch:,}\n\n{_against_peers(seconds, n_rows)}"


def _settings(scale: Scale, **others: Any) -> dict[str, Any]:
    versions = peers.versions("torch", *FLOW_LIBRARIES)
    return {"size": SIZE, "rounds": scale.rounds, "versions": versions, **others}


def _trainer(flow: Flow, batch: int, n_rows: int) -> Callable[[], None]:
    batches = _random_rows(n_rows).split(batch)
    optimizer = torch.optim.Adam(flow.module.parameters(), 1e-4, fused=True)

    def train() -> None:
        for rows in batches:
            optimizer.zero_grad()
            (-flow.log_prob(rows).mean()).backward()
            optimizer.step()

    return train


def _scoring(bench: Bench, scale: Scale) -> str:
    def measure() -> dict[str, list[float]]:
        rows = _random_rows(scale.scored)
        calls: dict[str, Callable[[], object]] = {
            name: partial(model.score_samples, rows) for name, model in _ours().items()
        }
        for name, flow in peers.flows().items():
            calls[name] = partial(_score, flow, rows, len(rows))
            calls[f"{name}, in chunks"] = partial(_score, flow, rows, CHUNK)
        return interleaved(calls, scale.rounds)

    settings = _settings(scale, rows=scale.scored)
    seconds = bench.result(Cell("speed", "score", "all"), settings, measure)
    title = (
        f"## Scoring {scale.scored:,} rows\n\nThe peers' `log_prob` of all rows at once, as their "
        f"users call it, and in chunks of {CHUNK:,} by hand, for comparison."
    )
    return f"{title}\n\n{_against_peers(seconds, scale.scored)}"


def _random_rows(n_rows: int) -> Tensor:
    return torch.randn(n_rows, DIM, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def _score(flow: Flow, rows: Tensor, chunk: int) -> Tensor:
    return torch.cat([flow.log_prob(part) for part in rows.split(chunk)])


def _against_peers(seconds: dict[str, list[float]], n_rows: int) -> str:
    """Rows a second of each flow, and its speed over that of the fastest peer used plainly."""
    rates = {name: n_rows / median(values) for name, values in seconds.items()}
    best = max((n for n in rates if n in FLOW_LIBRARIES), key=lambda n: rates[n], default=None)
    rows = []
    for name in sorted(rates, key=lambda n: -rates[n]):
        ratio = ""
        if best is not None and name != best:
            pairs = zip(seconds[best], seconds[name], strict=True)
            ratio = show(median_interval([theirs / own for theirs, own in pairs]), 2)
        rows.append([name, f"{rates[name]:,.0f}", ratio])
    return table(["flow", "rows a second", f"speed over {best or 'the best peer'}"], rows)
