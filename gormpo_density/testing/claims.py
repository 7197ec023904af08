"""What checks are written with: claims that fail with a sentence, under `python -O` too."""

from collections.abc import Callable

import torch

from gormpo_density.arrays import Data
from gormpo_density.base import FLOOR


def require(condition: object, message: str) -> None:
    """Raise AssertionError unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def require_close(got: Data, expected: Data, what: str, tolerance: float = 1e-5) -> None:
    """Require |got - expected| <= tolerance (1 + |expected|) everywhere; 0 means equal."""
    a, b = (torch.as_tensor(x).double() for x in (got, expected))
    require(a.shape == b.shape, f"{what}: shape {tuple(a.shape)} is not {tuple(b.shape)}")
    worst = ((a - b).abs() / (1 + b.abs())).max().item() if len(a) else 0.0
    require(worst <= tolerance, f"{what}: off by {worst:.3g} (relative), allowed {tolerance:g}")


def error_of(kind: type[Exception], call: Callable[[], object], what: str) -> str:
    """Return the text of the error that the call must raise."""
    try:
        call()
    except kind as error:
        return str(error)
    raise AssertionError(f"{what} raises no {kind.__name__}")


def require_scores(scores: Data, n: int, what: str) -> None:
    """Require one finite floating-point number a row."""
    require(tuple(scores.shape) == (n,), f"{what}: scores {tuple(scores.shape)}, not ({n},)")
    tensor = torch.as_tensor(scores)
    require(tensor.is_floating_point(), f"{what}: scores are {tensor.dtype}")
    require(tensor.isfinite().all(), f"{what}: a score is not finite")


def require_normal_scores(scores: Data, n: int, what: str) -> None:
    """Require scores above the floor, where NaN and minus infinity end."""
    require_scores(scores, n, what)
    require((torch.as_tensor(scores) > FLOOR).all(), f"{what}: a normal row has the floor score")
