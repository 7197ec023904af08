"""Figures of augmentation: what they show, and that odd input does not break them."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from gormpo_density.metrics import Interval
from gormpo_density.plots import plot_accuracies, plot_latent_classes, plot_synthetic

NONE = np.zeros((0, 6, 2))
ROWS = np.arange(60.0).reshape(5, 6, 2)
MANY = np.ones((2, 6, 8))
ARMS = {"baseline": Interval(0.8, 0.7, 0.9), "$noise_": Interval(1.0, 0.9, 1.0)}
LATENTS = np.random.default_rng(0).normal(size=(20, 3))


FIGURES: dict[str, Callable[[], Figure]] = {
    "accuracies": lambda: plot_accuracies(ARMS, {"1-NN": 0.5, "largest class": 0.2}),
    "no floors": lambda: plot_accuracies(ARMS, {}),
    "synthetic": lambda: plot_synthetic({"$up": (ROWS, ROWS), "b": (ROWS, NONE)}, ["x", "$y"]),
    "many classes": lambda: plot_synthetic(dict.fromkeys("abcdefgh", (ROWS, ROWS)), ["x", "y"]),
    "many channels": lambda: plot_synthetic({"a": (MANY, MANY)}, list("abcdefgh")),
    "latents": lambda: plot_latent_classes({"a": LATENTS, "$b": LATENTS + 1}, {"a": LATENTS}),
    "constant latents": lambda: plot_latent_classes({"a": np.zeros((3, 2))}, {}),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES)
def test_figures_are_drawn_without_a_warning(make) -> None:
    make().savefig(io.BytesIO(), format="png")


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_arms_stand_from_the_top_with_their_accuracies() -> None:
    figure = plot_accuracies(ARMS, {"1-NN": 0.5})
    (ax,) = figure.axes
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        "baseline  80.0%",
        r"\$noise_  100.0%",
    ]
    assert ax.get_ylim() == (1.5, -0.5)
    assert legend_of(figure) == ["1-NN: 50.0%"]


def test_synthetic_series_lie_below_their_originals_in_their_colours() -> None:
    figure = plot_synthetic({"up": (ROWS, ROWS[:2] + 1), "down": (ROWS, NONE)}, ["x", "y"])
    labels = [ax.get_ylabel() for ax in figure.axes[::2]]
    assert labels == ["x, originals", "x, synthetic", "y, originals", "y, synthetic"]
    assert [len(ax.lines) for ax in figure.axes] == [4, 4, 2, 0] * 2
    assert figure.axes[0].get_ylim() == figure.axes[3].get_ylim() != figure.axes[4].get_ylim()
    original, made = figure.axes[4].lines[1], figure.axes[6].lines[1]
    assert original.get_color() == made.get_color()
    np.testing.assert_array_equal(made.get_ydata(), ROWS[1, :, 1] + 1)


def test_a_lone_channel_needs_no_name() -> None:
    figure = plot_synthetic({"up": (ROWS[..., :1], ROWS[..., :1])}, ["value"])
    assert [ax.get_ylabel() for ax in figure.axes] == ["originals", "synthetic"]


def test_classes_keep_their_colour_and_far_synthetic_rows_are_counted() -> None:
    real = {"a": np.array([[0.0, 0], [1, 1]]), "b": np.array([[0.0, 1], [1, 0]])}
    made = {"b": np.array([[0.5, 0.5], [1e9, 0]])}
    figure = plot_latent_classes(real, made)
    (ax,) = figure.axes
    a, b, crosses = ax.collections[:3]
    assert not np.array_equal(a.get_facecolors(), b.get_facecolors())
    np.testing.assert_array_equal(crosses.get_edgecolors()[0], b.get_facecolors()[0])
    assert ax.get_title("right") == "1 of 2 synthetic rows off the axis"
    assert legend_of(figure) == ["a", "b", "synthetic"]
