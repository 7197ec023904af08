from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from gormpo_density.plots import save_figure
from rl.diagnosis_plots import plot_errors_by_step, plot_tracking
from rl.error_tracking import StepErrors
from rl.model_error import ModelErrors


def measured(error: Any, **penalties: Any) -> ModelErrors:
    n = len(error)
    names, ones = np.full(n, "clone"), np.ones(n, int)
    return ModelErrors(names, np.arange(n), ones, error, error, penalties)


def lines(ax: Axes) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.asarray(line.get_ydata()) for line in ax.get_lines()}


@pytest.fixture
def drawn(tmp_path):
    """A function that saves a figure, so that it is laid out, and gives it back."""

    def save(figure):
        save_figure(figure, tmp_path / "figure.png")
        return figure

    return save


def test_each_policy_has_a_line_of_its_errors(drawn) -> None:
    table = [
        StepErrors("clone", 1, 9, 0.1, 0.2),
        StepErrors("clone", 2, 8, 0.2, 0.5),
        StepErrors("$wild$", 1, 9, 0.4, 0.9),
    ]
    one, all_so_far = drawn(plot_errors_by_step(table)).axes
    assert lines(one)["clone"].tolist() == [0.1, 0.2]
    assert lines(all_so_far)["clone"].tolist() == [0.2, 0.5]
    assert lines(one)[r"\$wild\$"].tolist() == [0.4]


def test_a_perfect_penalty_lies_on_the_dashed_line(drawn) -> None:
    error = np.random.default_rng(0).exponential(size=200)
    figure = drawn(
        plot_tracking(measured(error, same=error, off=-error), {"same": 1.0, "off": -1.0})
    )
    same, off = (lines(ax) for ax in figure.axes)
    assert same["median"] == pytest.approx(same["perfect order"])
    assert off["median"] == pytest.approx(off["perfect order"][::-1])
    assert figure.axes[0].get_title("right") == "rho 1.000"


def test_equal_penalties_do_not_keep_the_order_of_the_rows(drawn) -> None:
    error = np.sort(np.random.default_rng(0).exponential(size=4000))
    figure = drawn(plot_tracking(measured(error, none=np.zeros(4000)), {"none": np.nan}))
    median = lines(figure.axes[0])["median"]
    assert median.max() < 2 * median.min()
    assert figure.axes[0].get_title("right") == "rho \N{EN DASH}"
