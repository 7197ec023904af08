import io
import math

import matplotlib

from gormpo_density.metrics import Interval
from gormpo_density.plots import plot_severity

LINES = {
    "elbo": {1.0: Interval(0.9, 0.8, 1.0), 0.0: Interval(0.5, 0.4, 0.6)},
    "pca": {0.0: Interval(0.2, math.nan, math.nan), 1.0: Interval(0.7, math.nan, math.nan)},
}
PANELS = {"voltage_spike": LINES, "drift": {"elbo": LINES["elbo"]}}


def test_each_kind_has_a_panel_and_each_score_a_line_in_order_of_severity() -> None:
    first, second = plot_severity(PANELS, "ROC-AUC", chance=0.5).axes
    assert [ax.get_title("left") for ax in (first, second)] == ["voltage_spike", "drift"]
    drawn = {line.get_label(): list(line.get_ydata()) for line in first.lines}
    assert drawn == {"elbo": [0.5, 0.9], "pca": [0.2, 0.7], "random score": [0.5, 0.5]}
    assert len(second.lines) == 2
    assert first.get_ylabel() == "ROC-AUC"


def test_what_is_below_chance_stays_in_the_picture() -> None:
    first, _ = plot_severity(PANELS, "ROC-AUC", chance=0.5).axes
    assert first.get_ylim()[0] < 0.2


def test_it_is_drawn_without_a_warning() -> None:
    before = {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != "backend"}
    figure = plot_severity(PANELS, "m_$", chance=0.5)
    figure.savefig(io.BytesIO(), format="png")
    assert {k: matplotlib.rcParams[k] for k in before} == before
