"""Figures of series and of windows: what they show, and that odd input does not break them."""

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from gormpo_density.errors import DataError
from gormpo_density.plots import (
    ScoredSeries,
    plot_close_ups,
    plot_confusion,
    plot_samples,
    plot_score_curves,
    plot_series,
    plot_window_reconstructions,
)

LENGTH = 600
SCORE = np.r_[np.zeros(500), np.full(5, 9.0), np.zeros(95)] + np.linspace(0, 1, LENGTH)
SERIES = ScoredSeries(
    values=np.sin(np.arange(2.0 * LENGTH)).reshape(LENGTH, 2),
    channels=["$volt", "amp_"],
    anomaly_score=SCORE,
    threshold=2.0,
    score_name="elbo [nats]",
    found=[(499, 506)],
    true=[(500, 505), (580, 581)],
    train=(0, 300),
)
DATES = np.datetime64("2014-01-01") + np.arange(LENGTH) * np.timedelta64(5, "m")
GAP = np.where(np.arange(LENGTH)[:, None] % 7 == 0, np.nan, SERIES.values)
LABELS = np.array([False, True, False, True])


def windows(*kinds: str) -> dict[str, np.ndarray]:
    return {kind: np.arange(60.0).reshape(5, 6, 2) + i for i, kind in enumerate(kinds)}


def one_each(channels: int, kinds: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    window = np.ones((4, channels))
    return {f"kind{i}": (window, window + 1) for i in range(kinds)}


FIGURES: dict[str, Callable[[], Figure]] = {
    "series": lambda: plot_series(SERIES),
    "dates and gaps": lambda: plot_series(replace(SERIES, times=DATES, values=GAP)),
    "nothing known": lambda: plot_series(replace(SERIES, true=None, train=None, found=[])),
    "many channels": lambda: plot_series(
        replace(SERIES, values=np.tile(SERIES.values, 6), channels=list("abcdefghijkl"))
    ),
    "constant": lambda: plot_series(
        replace(SERIES, values=np.ones((LENGTH, 2)), anomaly_score=np.ones(LENGTH))
    ),
    "close-ups": lambda: plot_close_ups(replace(SERIES, times=DATES)),
    "close-ups without a score": lambda: plot_close_ups(
        replace(SERIES, anomaly_score=np.full(LENGTH, np.nan))
    ),
    "close-ups of a short series": lambda: plot_close_ups(
        replace(SERIES, values=SERIES.values[:30], anomaly_score=SCORE[:30], true=[(0, 30)])
    ),
    "samples": lambda: plot_samples(windows("normal", "voltage_spike"), ["a", "$b"]),
    "one window": lambda: plot_samples({"normal": np.ones((1, 4, 1))}, ["a"]),
    "reconstructions": lambda: plot_window_reconstructions(one_each(7, 8), list("abcdefg")),
    "curves": lambda: plot_score_curves(LABELS, {"elbo": -SCORE[:4]}, {"random": -SCORE[4:8]}),
    "confusion": lambda: plot_confusion(np.array([[3, 1], [0, 0]]), ["normal", "$a"], "rows"),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES)
def test_figures_are_drawn_without_a_warning(make) -> None:
    make().savefig(io.BytesIO(), format="png")


def titles(figure: Figure) -> list[str]:
    return [ax.get_title("left") for ax in figure.axes]


def test_a_series_has_a_panel_for_each_channel_the_score_and_the_events() -> None:
    figure = plot_series(SERIES)
    assert titles(figure) == [r"\$volt", "amp_", "anomaly score: elbo [nats]", ""]
    lanes = [tick.get_text() for tick in figure.axes[-1].get_yticklabels()]
    assert lanes == ["found", "true"]
    assert len(figure.axes[-1].collections) == 3


def test_far_scores_are_cut_off_and_said() -> None:
    figure = plot_series(replace(SERIES, anomaly_score=SCORE * np.where(SCORE > 5, 1e6, 1)))
    ax = figure.axes[2]
    assert ax.get_title("right") == "5 of 600 rows off the axis"
    assert ax.get_ylim()[0] < SERIES.threshold < ax.get_ylim()[1] < 100


def test_the_channels_shown_of_many_are_those_that_move_most() -> None:
    moving = np.random.default_rng(0).normal(size=(LENGTH, 8))
    still = np.linspace(0, 1, LENGTH)[:, None] * np.ones(4)
    names = [f"still{i}" for i in range(4)] + [f"moving{i}" for i in range(8)]
    figure = plot_series(replace(SERIES, values=np.hstack([still, moving]), channels=names))
    assert titles(figure)[:8] == names[4:]
    assert figure.get_suptitle() == "8 of 12 channels, those that vary most"


def test_a_close_up_shows_the_anomaly_and_what_is_around_it() -> None:
    figure = plot_close_ups(replace(SERIES, times=DATES))
    assert len(figure.axes) == 4
    low, high = figure.axes[0].get_xlim()
    assert low < 500 < 505 < high
    assert high - low == pytest.approx(200, abs=10)
    assert figure.axes[0].get_title("right") == "from 2014-01-02 17:40"
    assert figure.axes[1].get_xlim()[1] == LENGTH - 1


def test_close_ups_without_labels_are_of_the_events_found() -> None:
    figure = plot_close_ups(replace(SERIES, true=None, found=[(10, 20)] * 8))
    assert len(figure.axes) == 12
    assert figure.get_suptitle() == "6 of 8, evenly spaced"


def test_samples_of_a_channel_share_their_axis() -> None:
    figure = plot_samples(windows("normal", "voltage_spike"), ["volt", "amp"])
    assert titles(figure) == ["normal", "voltage spike", "", ""]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert [ax.get_ylabel() for ax in figure.axes] == ["volt", "", "amp", ""]
    assert all(len(ax.lines) == 4 for ax in figure.axes)
    np.testing.assert_equal(figure.axes[3].lines[0].get_ydata(), windows("", "b")["b"][0, :, 1])


def test_what_is_left_out_of_a_grid_is_said() -> None:
    figure = plot_window_reconstructions(one_each(7, 8), list("abcdefg"))
    assert len(figure.axes) == 36
    assert figure.get_suptitle() == "6 of 7 channels; 6 of 8 kinds"


def test_curves_carry_both_areas_of_every_score() -> None:
    figure = plot_score_curves(
        LABELS, {"right": [4, 1, 3, 2]}, {"wrong": np.array([1, 4, 2, 3.0])}
    )
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["right: 1.000, 1.000", "wrong: 0.000, 0.417", "random score: 0.500, 0.500"]
    assert [line.get_linestyle() for line in figure.axes[0].lines] == ["-", "--", ":"]


def test_a_score_that_is_not_finite_is_named() -> None:
    with pytest.raises(DataError, match="'elbo'"):
        plot_score_curves(LABELS, {"elbo": np.array([0, np.nan, 1, 2])}, {})


def test_a_confusion_shows_counts_and_the_share_of_the_class() -> None:
    figure = plot_confusion(np.array([[30, 10], [0, 5]]), ["normal", "voltage_spike"], "windows")
    (ax,) = figure.axes
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["30\n75.0%", "10\n25.0%", "0\n0.0%", "5\n100.0%"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["normal", "voltage spike"]
