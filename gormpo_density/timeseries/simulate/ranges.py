"""What the parameters of a simulation may be."""

from typing import Annotated, TypeVar

from annotated_types import Ge, Interval
from pydantic import AfterValidator

N = TypeVar("N", int, float)


def _rising(pair: tuple[N, N]) -> tuple[N, N]:
    if pair[0] > pair[1]:
        raise ValueError(f"must be [lowest, highest], is {list(pair)}")
    return pair


Positive = Annotated[float, Interval(gt=0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Interval(gt=0, lt=1)]
Count = Annotated[int, Ge(1)]
Range = Annotated[tuple[NotNegative, NotNegative], AfterValidator(_rising)]
"""Lowest and highest value, from which one is drawn uniformly."""
CountRange = Annotated[tuple[Count, Count], AfterValidator(_rising)]
"""The same for whole numbers."""
