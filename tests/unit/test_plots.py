import io
from collections.abc import Callable

import matplotlib.colors
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy import stats

from gormpo_density.calibration import Calibration
from gormpo_density.errors import DataError, ShapeError
from gormpo_density.plots import (
    plot_calibration,
    plot_latent,
    plot_ood_levels,
    plot_pr,
    plot_reconstructions,
    plot_roc,
    plot_score_histograms,
    plot_training_curves,
    save_figure,
)
from gormpo_density.plots.scores import _band
from gormpo_density.plots.style import PALETTE

NORMAL = np.linspace(-12.0, -8.0, 100)
ODD_NAMES = ["$x_{", "a_b", "_private", "/a/very/long/path/" * 9, "<b>"]


def levels(names: list[str], auroc: float = 0.9) -> dict[str, dict[str, float]]:
    return {name: {"roc_auc": auroc, "pr_auc": 0.8, "fpr95": 1 - auroc} for name in names}


def settings() -> dict[str, object]:
    return {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != "backend"}


def legend_labels(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def titles(figure: Figure) -> list[str]:
    return [ax.get_title("left") for ax in figure.axes]


def line(ax, label: str):
    return next(line for line in ax.lines if line.get_label() == label)


FIGURES: dict[str, Callable[[], Figure]] = {
    "training": lambda: plot_training_curves({"train_loss": [1e9, 3, 2], "val_loss": [4, 3, 2.5]}),
    "one epoch": lambda: plot_training_curves({"train_loss": [3.0], "val_loss": [4.0]}),
    "not finite": lambda: plot_training_curves({"train_loss": [np.inf], "val_loss": [np.nan]}),
    "no epochs": lambda: plot_training_curves({}),
    "histograms": lambda: plot_score_histograms({name: NORMAL for name in ODD_NAMES}, -11.8),
    "one constant score": lambda: plot_score_histograms({"normal": np.zeros(3)}),
    "roc": lambda: plot_roc({name: (NORMAL, NORMAL - 1) for name in ODD_NAMES}),
    "pr": lambda: plot_pr({name: (NORMAL, NORMAL - 1) for name in ODD_NAMES}),
    "levels": lambda: plot_ood_levels({"m": levels(["obs1", *ODD_NAMES])}),
    "a level of a deep file": lambda: plot_ood_levels({"m": levels(["/a/b/c/d/e/f/g/h/i/j.npz"])}),
    "a level of a long file": lambda: plot_ood_levels({"m": levels([f"/{'long' * 15}.npz"])}),
    "compared levels": lambda: plot_ood_levels({n: levels(["obs1", "act2"]) for n in ODD_NAMES}),
    "latent": lambda: plot_latent({n: np.outer(NORMAL, [1, 2, 3]) for n in ODD_NAMES}),
    "one latent": lambda: plot_latent({"test": NORMAL[:, None]}),
    "constant latent": lambda: plot_latent({"test": np.zeros((4, 3))}),
    "reconstructions": lambda: plot_reconstructions(np.eye(5), np.eye(5), ODD_NAMES),
    "calibration": lambda: plot_calibration(Calibration.from_scores(torch.rand(50)), NORMAL),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES)
def test_figures_are_drawn_without_a_warning_and_leave_global_state_alone(make):
    before = settings()
    figure = make()
    figure.savefig(io.BytesIO(), format="png")
    assert figure.canvas.manager is None
    assert settings() == before


# Training curves ---------------------------------------------------------------------------


def test_training_curves_have_a_panel_for_each_part():
    history = {f"{s}_{p}": [3.0, 2.0] for p in ("loss", "recon", "kl") for s in ("train", "val")}
    figure = plot_training_curves(history)
    assert titles(figure) == ["loss", "reconstruction", "KL divergence"]
    np.testing.assert_array_equal(line(figure.axes[2], "train").get_xdata(), [1, 2])


def test_training_curves_mark_the_first_best_validation_epoch():
    figure = plot_training_curves({"train_loss": [3, 2, 1, 0], "val_loss": [np.nan, 2, 1, 1]})
    assert "best on validation: epoch 3" in legend_labels(figure)


def test_a_huge_first_loss_is_left_off_the_axis_and_counted():
    figure = plot_training_curves({"train_loss": [1e12, *np.linspace(9, 5, 29)]})
    ax = figure.axes[0]
    assert ax.get_ylim()[1] < 10
    assert ax.get_title("right") == "1 of 30 points off the axis"


def test_a_model_without_epochs_is_said_to_have_none():
    assert plot_training_curves({}).axes[0].texts[0].get_text() == "no training epochs"


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("b.svg", b"<?xml")])
def test_training_curves_are_saved_in_the_format_of_the_path(tmp_path, name, start):
    plot_training_curves({"train_loss": [1.0]}, tmp_path / "plots" / name)
    assert (tmp_path / "plots" / name).read_bytes().startswith(start)


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.nonsense"
    path.write_text("old")
    with pytest.raises(ValueError, match="nonsense"):
        save_figure(Figure(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# Scores ------------------------------------------------------------------------------------


def test_far_out_scores_are_counted_and_do_not_stretch_the_axis():
    odd = np.concatenate([NORMAL - 2, [-1e30, -1e6, 50.0]])
    ax = plot_score_histograms({"normal": NORMAL, "odd": odd}, -11.8).axes[0]
    low, high = ax.get_xlim()
    assert -15 < low < -14
    assert -8 < high < -7
    assert [t.get_text() for t in ax.texts] == ["← 2 of 103 rows", "1 of 103 rows →"]


def test_histograms_hold_shares_of_all_rows_of_a_set():
    odd = np.concatenate([NORMAL, np.full(100, -1e30)])
    ax = plot_score_histograms({"normal": torch.tensor(NORMAL), "odd": odd}).axes[0]
    shares = [stairs.get_data().values.sum() for stairs in ax.patches]
    np.testing.assert_allclose(shares, [1.0, 0.5])


def test_histograms_select_among_the_sets_that_are_on_the_axis():
    near = {f"near{i:02d}": NORMAL - i / 20 for i in range(20)}
    figure = plot_score_histograms({"normal": NORMAL, "far": NORMAL - 1e4, **near})
    assert len(figure.axes) == 12
    assert titles(figure)[0] == "near00"
    assert titles(figure)[-1] == "near19"
    note = "12 of 20 sets, evenly spaced by rank of median; 1 more lie almost wholly off the axis"
    assert figure.get_suptitle() == note


def test_a_lone_set_is_shown_however_far_it_is():
    figure = plot_score_histograms({"normal": NORMAL, "far": NORMAL - 1e4})
    assert titles(figure) == ["far"]
    assert figure.axes[0].texts[0].get_text() == "← 100 of 100 rows"


@pytest.mark.parametrize("scores", [[], [1.0, np.nan], [np.inf]])
def test_scores_that_cannot_be_drawn_are_named(scores):
    with pytest.raises(DataError, match="'odd'"):
        plot_score_histograms({"normal": NORMAL, "odd": np.array(scores)})
    with pytest.raises(DataError, match="'odd'"):
        plot_roc({"odd": (NORMAL, np.array(scores))})


def test_calibration_curve_is_the_share_of_p_values_up_to_each_rate():
    calibration = Calibration.from_scores(torch.arange(1.0, 100.0), alpha=0.1)
    scores = np.array([0.5, 9.5, 50.5, 90.5])  # p-values .01, .1, .51, .91
    whole, zoomed = plot_calibration(calibration, scores).axes
    nominal, realised = line(whole, "realised").get_data()
    seen = np.interp([0.05, 0.3, 0.7, 0.95], nominal, realised)
    np.testing.assert_allclose(seen, [0.25, 0.5, 0.75, 1.0])
    assert zoomed.get_xlim() == (0, 0.25)


def test_calibration_band_is_beta_distributed_for_endless_test_rows():
    n, k = 199, 10
    expected = stats.beta(k, n + 1 - k).interval(0.95)
    np.testing.assert_allclose(np.ravel(_band(np.array([0.05]), n, 10**9)), expected, rtol=1e-5)


def test_calibration_band_has_the_variance_of_the_beta_binomial():
    n, m, k = 99, 50, 20
    size = m * (n + 2) / (m + n + 1) - 1
    band = stats.beta(0.2 * size, 0.8 * size)
    assert band.var() == pytest.approx(stats.betabinom(m, k, n + 1 - k).var() / m**2)
    np.testing.assert_allclose(np.ravel(_band(np.array([0.2]), n, m)), band.interval(0.95))


# Detection ---------------------------------------------------------------------------------


def test_roc_and_pr_areas_stand_in_the_legend():
    pairs = {"odd": (np.array([3.0, 2.0, 1.0]), np.array([2.5, 0.0]))}  # 4 of 6 pairs are won
    assert legend_labels(plot_roc(pairs)) == ["odd: 0.667", "random: 0.500"]
    assert legend_labels(plot_pr(pairs)) == ["odd: 0.750", "random: 0.400"]  # (1/1 + 2/4) / 2


def test_a_constant_score_has_the_precision_of_chance_all_along():
    figure = plot_pr({"odd": (np.zeros(3), np.zeros(1))})
    curve = figure.axes[0].lines[0]
    assert curve.get_drawstyle() == "steps-post"
    np.testing.assert_array_equal(curve.get_ydata(), [0.25, 1.0])
    np.testing.assert_array_equal(curve.get_xdata(), [1, 0])


def test_of_many_curves_some_are_shown_from_the_best_to_the_worst():
    figure = plot_roc({f"set{i}": (NORMAL, NORMAL - i / 10) for i in range(20)})
    names = [label.partition(":")[0] for label in legend_labels(figure)]
    assert len(names) == 8  # random among them
    assert names[0] == "set19"
    assert names[-2] == "set0"
    assert figure.get_suptitle() == "7 of 20 sets, evenly spaced by rank of AUROC"


def test_levels_of_one_run_have_a_line_for_each_kind_of_shift():
    run = levels(["obs0.25", "obs2", "act1", "perm", "expert-v2"])
    run["obs2"]["roc_auc"] = 0.99
    figure = plot_ood_levels({"flow": run})
    assert titles(figure) == 2 * ["shifted", "other sets"]
    shifted, others = figure.axes[:2]
    np.testing.assert_array_equal(line(shifted, "observations").get_ydata(), [0.9, np.nan, 0.99])
    np.testing.assert_array_equal(line(shifted, "actions").get_ydata(), [np.nan, 0.9, np.nan])
    assert [tick.get_text() for tick in shifted.get_xticklabels()] == ["0.25", "1", "2"]
    assert [tick.get_text() for tick in others.get_xticklabels()] == [
        "permuted\nactions",
        "expert-v2",
    ]


def test_shifts_of_rows_without_actions_have_a_line():
    figure = plot_ood_levels({"flow": levels(["shift0.5", "shift1"])})
    assert titles(figure) == 2 * ["shifted"]
    np.testing.assert_array_equal(line(figure.axes[0], "all features").get_ydata(), [0.9, 0.9])


def test_gormpos_shift_has_a_panel_and_an_axis_of_its_own():
    figure = plot_ood_levels({"flow": levels(["obs1", "gormpo0.4", "gormpo1"])})
    assert titles(figure) == 2 * ["shifted", "GORMPO's shift"]
    assert figure.axes[2].get_xlabel() == "shift [standard deviations]"
    assert figure.axes[3].get_xlabel() == "shift [raw units]"
    assert titles(plot_ood_levels({"flow": levels(["gormpo1"])})) == 2 * ["GORMPO's shift"]


def test_levels_of_several_runs_have_a_panel_for_each_kind_and_a_line_for_each_run():
    runs = {"flow": levels(["obs1", "actclip1"]), "vae": levels(["obs1"], 0.7)}
    figure = plot_ood_levels(runs)
    assert titles(figure) == 2 * ["observations", "clipped actions"]
    assert line(figure.axes[0], "vae").get_ydata() == pytest.approx([0.7])
    assert line(figure.axes[2], "vae").get_ydata() == pytest.approx([0.3])  # FPR95
    assert np.isnan(line(figure.axes[1], "vae").get_ydata()).all()
    assert legend_labels(figure) == ["flow", "vae", "random score"]


# Latent space ------------------------------------------------------------------------------


def test_latent_axes_say_their_share_of_the_variance():
    corners = np.array([[a, b, c] for a in (-3, 3) for b in (-1, 1) for c in (0, 0)], float)
    ax = plot_latent({"test": corners}).axes[0]
    assert ax.get_xlabel() == "component 1 (90% of variance)"
    assert ax.get_ylabel() == "component 2 (10% of variance)"


def test_two_latents_are_their_own_axes_and_far_rows_are_counted():
    near = np.stack([NORMAL, NORMAL[::-1]], axis=1)
    odd = near[:2] + np.array([[1e9, 0], [0, 1]])
    ax = plot_latent({"test": torch.tensor(near), "odd": odd}).axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("z1", "z2")
    assert ax.get_title("right") == "1 of 102 rows off the axis"
    assert ax.get_xlim()[1] < 0


def test_latent_points_keep_the_colour_of_their_set():
    points = {"a": np.zeros((3, 2)), "b": np.ones((2, 2))}
    drawn = plot_latent(points).axes[0].collections[0]
    rows = zip(drawn.get_offsets()[:, 0], drawn.get_facecolors(), strict=True)
    seen = sorted((x, *color[:3]) for x, color in rows)
    blue, red = matplotlib.colors.to_rgb(PALETTE[0]), matplotlib.colors.to_rgb(PALETTE[1])
    assert seen == 3 * [(0, *blue)] + 2 * [(1, *red)]


def test_at_most_two_thousand_rows_of_a_set_are_drawn():
    drawn = plot_latent({"test": np.random.default_rng(0).normal(size=(5000, 2))})
    assert len(drawn.axes[0].collections[0].get_offsets()) == 1667


def test_reconstructions_say_how_much_is_explained():
    x = np.array([[-1.0, 5.0, -2.0], [1.0, 5.0, 2.0]])
    recon = np.array([[-0.5, 5.0, -2.0], [0.5, 5.0, 2.0]])  # residual .5 of a total of 2
    figure = plot_reconstructions(x, recon, ["half", "fixed", "exact"])
    assert titles(figure) == ["half", "fixed", "exact"]
    assert [ax.get_title("right") for ax in figure.axes] == [
        "R² 0.750",
        "R² undefined",
        "R² 1.000",
    ]


def test_of_many_features_the_worst_are_shown_in_their_order():
    x = np.random.default_rng(0).normal(size=(50, 20))
    figure = plot_reconstructions(x, x * np.where(np.arange(20) < 4, 1.0, 0.5))
    assert titles(figure) == [f"feature {i}" for i in range(4, 20)]
    assert figure.get_suptitle() == "the 16 of 20 features with the lowest R²"


def test_windows_are_drawn_by_feature():
    windows = torch.randn(6, 4, 2, generator=torch.Generator().manual_seed(0))
    figure = plot_reconstructions(windows, windows)
    assert len(figure.axes) == 2
    assert len(figure.axes[0].collections[0].get_offsets()) == 24


@pytest.mark.parametrize(("recon", "names"), [((3, 3), None), ((3, 2), ["only one"])])
def test_shapes_must_agree(recon, names):
    with pytest.raises(ShapeError, match="do not agree"):
        plot_reconstructions(np.zeros((3, 2)), np.zeros(recon), names)
