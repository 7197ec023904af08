import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from gormpo_density.metrics import Interval
from gormpo_density.plots import save_figure
from rl.plots import (
    Panel,
    plot_curves,
    plot_dynamics,
    plot_returns,
    plot_states,
    plot_values,
)

UPDATES = [1000.0, 2000.0, 3000.0, 4000.0]


def labels(figure: Figure) -> list[str]:
    """Return the texts of the legend that belongs to the whole figure."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def titles(figure: Figure) -> list[str]:
    return [ax.get_title(loc="left") for ax in figure.axes]


def notes(figure: Figure) -> list[str]:
    return [ax.get_title(loc="right") for ax in figure.axes]


@pytest.fixture(autouse=True)
def drawn(tmp_path):
    """A function that draws a figure, so that what matplotlib warns of is an error."""
    return lambda figure: save_figure(figure, tmp_path / "figure.png")


def test_returns_are_drawn_where_they_were_measured(drawn) -> None:
    history = {
        "updates": UPDATES,
        "return_det": [math.nan, 5.0, math.nan, 9.0],
        "return_stoch": [math.nan, 4.0, math.nan, 8.0],
    }
    names = ("deterministic", "stochastic")
    final = {"return_det": Interval(10.0, 8.0, 12.0)}
    figure = plot_returns(history, {"data": 1574.2, "clone": math.nan}, final)
    det, stoch = (line for line in figure.axes[0].lines if line.get_label() in names)
    assert det.get_xydata().tolist() == [[2000, 5], [4000, 9]]
    assert stoch.get_xydata().tolist() == [[2000, 4], [4000, 8]]
    end = "deterministic, at the end,\nwith 95 % interval"
    assert sorted(labels(figure)) == sorted(["deterministic", "stochastic", "data: 1,574", end])
    (bars,) = figure.axes[0].containers
    assert bars.lines[0].get_ydata().tolist() == [10.0]
    drawn(figure)


def test_returns_need_no_evaluation_on_the_way(drawn) -> None:
    figure = plot_returns({"updates": UPDATES}, {}, {"return_det": Interval(1.0, 0.0, 2.0)})
    assert len(figure.axes[0].containers) == 1
    drawn(figure)


@pytest.mark.parametrize(("data_return", "alarm"), [(300.0, 330.0), (-300.0, -270.0)])
def test_the_alarm_is_within_the_axis_and_above_the_data(data_return, alarm, drawn) -> None:
    figure = plot_values({"updates": UPDATES, "q_data": [data_return] * 4}, data_return, alarm)
    low, high = figure.axes[0].get_ylim()
    assert low < data_return < alarm < high
    assert labels(figure) == ["mean Q", "mean discounted return", "alarm: over-estimation"]
    drawn(figure)


def test_a_q_that_ran_away_does_not_hide_the_rest(drawn) -> None:
    q_data = [*range(300, 310), 1e9]
    figure = plot_values({"updates": range(11), "q_data": q_data}, 305.0, 335.0)
    assert figure.axes[0].get_ylim()[1] < 1000
    assert notes(figure) == ["1 of 11 points off the axis"]
    drawn(figure)


def test_values_without_known_returns_are_drawn_alone(drawn) -> None:
    drawn(plot_values({"updates": UPDATES, "q_data": [1.0, 2.0, 3.0, 4.0]}, math.nan, math.nan))


def test_only_what_was_measured_gets_a_panel(drawn) -> None:
    history = {"updates": UPDATES, "kl": [0.1, 0.2, 0.3, 0.4], "coef": [math.nan] * 4}
    panels = {
        "kl": Panel("KL", "nats"),
        "coef": Panel("coefficient"),
        "share": Panel("share", is_share=True),
    }
    figure = plot_curves(history, panels)
    assert titles(figure) == ["KL"]
    assert figure.axes[0].get_ylabel() == "nats"
    drawn(figure)


def test_a_share_starts_at_zero_and_has_its_level(drawn) -> None:
    history = {"updates": UPDATES, "share": [0.2, 0.21, 0.22, 0.2]}
    panel = Panel("share", is_share=True, level=(0.05, "aimed at: 5.0%"))
    figure = plot_curves(history, {"share": panel})
    assert figure.axes[0].get_ylim()[0] == 0
    assert labels(figure) == ["aimed at: 5.0%"]
    drawn(figure)


def test_an_empty_history_says_so(drawn) -> None:
    figure = plot_curves({}, {"kl": Panel("KL")})
    assert [text.get_text() for text in figure.axes[0].texts] == ["nothing was measured"]
    drawn(figure)


def test_dynamics_show_training_and_each_dimension(drawn) -> None:
    curves = {"train_loss": [1.0, 0.5], "val_loss": [1.1, 0.7], "val_mse_obs": [2.0, 1.0]}
    figure = plot_dynamics(curves, {"obs 0": 0.9, "reward": -3.0})
    losses, bars = figure.axes
    assert [line.get_ydata().tolist() for line in losses.lines] == [[1.0, 0.5], [1.1, 0.7]]
    assert labels(figure) == ["train", "val"]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["obs 0", "reward"]
    assert bars.get_xlim()[0] == -0.5
    drawn(figure)


def test_of_many_dimensions_the_worst_are_shown_in_order(drawn) -> None:
    r2 = {f"obs {i}": i / 40 for i in range(30, -1, -1)}
    figure = plot_dynamics({}, r2)
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown == [f"obs {i}" for i in range(23, -1, -1)]
    assert "24 of 31 dimensions" in figure.get_suptitle()
    drawn(figure)


def test_states_are_seen_along_the_spread_of_the_data(drawn) -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(5000, 1)) * [1.0, -1.0, 0.0]
    others = {"rollouts": data / 2, "policy": np.full((2, 3), 1e9)}
    figure = plot_states(data, others)
    assert titles(figure) == ["rollouts", "policy"]
    assert notes(figure) == ["", "2 of 2 states off the axis"]
    assert figure.axes[0].get_xlabel() == "component 1 (100% of variance)"
    assert len(figure.axes[0].collections[0].get_offsets()) == 2500  # every other one of 5,000
    assert labels(figure) == ["data", "rollouts", "policy"]
    drawn(figure)


def test_one_state_dimension_is_enough(drawn) -> None:
    drawn(plot_states(np.arange(10.0)[:, None], {"policy": np.ones((3, 1))}))
