import io
import math

import matplotlib
import numpy as np
import pytest

from gormpo_density.metrics import Interval
from gormpo_density.plots import plot_sweep

SCORES = {"coef=1": [1.0, 2.0, 3.0], "coef=3": [5.0], "coef=$10": []}
MEANS = {"coef=1": Interval(2.0, 1.5, 2.5), "coef=3": Interval(5.0, math.nan, math.nan)}


def lines(ax, label: str) -> list[tuple[list[float], list[float]]]:
    """Return the x and y of all lines of a label."""
    found = [line for line in ax.lines if line.get_label() == label]
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in found]


def test_a_point_has_a_line_with_its_seeds_mean_and_interval() -> None:
    (ax,) = plot_sweep(SCORES, MEANS, "return_mean").axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["coef=1", "coef=3", r"coef=\$10"]
    assert lines(ax, "seed") == [([1.0, 2.0, 3.0], [0, 0, 0]), ([5.0], [1]), ([], [])]
    assert lines(ax, "mean") == [([2.0], [0]), ([5.0], [1])]
    first, _ = lines(ax, "95 % interval")
    assert first == ([1.5, 2.5], [0, 0])
    assert ax.get_xlabel() == "return_mean"
    assert ax.yaxis_inverted()  # the grid is read from the top


def test_a_seed_that_collapsed_is_shown() -> None:
    scores = {"none": [3372.0, 595.0, 3386.0, 3402.0, 3370.0], "a": [3372.0, 3190.0, 3413.0]}
    (ax,) = plot_sweep(scores, {"none": Interval(2825.0, 1277.0, 4373.0)}, "m").axes
    low, high = ax.get_xlim()
    assert low < 595
    assert high > 4373


def test_one_far_seed_does_not_hide_the_others() -> None:
    scores = {"a": list(np.arange(20.0)), "b": [1e9]}
    (ax,) = plot_sweep(scores, {}, "m").axes
    assert ax.get_xlim()[1] < 100
    assert ax.get_title("right") == "1 of 21 values off the axis"


@pytest.mark.parametrize("scores", [SCORES, {"none": []}, {"one": [0.0]}, {"same": [2.0, 2.0]}])
def test_it_is_drawn_without_a_warning(scores) -> None:
    before = {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != "backend"}
    plot_sweep(scores, {}, "m_$").savefig(io.BytesIO(), format="png")
    assert {k: matplotlib.rcParams[k] for k in before} == before
