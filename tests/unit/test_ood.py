import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gormpo_density.data.ood import (
    PLAIN_LEVELS,
    STATE_ACTION_LEVELS,
    OODLevel,
    default_levels,
    ood_rows,
    parse_level,
)
from gormpo_density.errors import ConfigError, ShapeError

N, OBS, ACT = 400, 3, 2
BASE = np.random.default_rng(7).uniform(-1, 1, size=(N, OBS + ACT)).astype(np.float32)
STD = np.array([1.0, 2.0, 0.5, 0.25, 4.0], dtype=np.float32)
WIDTHS = {"obs_dim": OBS, "action_dim": ACT}


def make(*levels, **options):
    return ood_rows(BASE, STD, levels or None, **{**WIDTHS, **options})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("obs0.5", OODLevel("obs0.5", "obs", 0.5)),
        ("act2", OODLevel("act2", "act", 2.0)),
        ("both.25", OODLevel("both.25", "both", 0.25)),
        ("actclip1", OODLevel("actclip1", "actclip", 1.0)),
        ("shift3", OODLevel("shift3", "shift", 3.0)),
        ("gormpo0.4", OODLevel("gormpo0.4", "gormpo", 0.4)),
        ("perm", OODLevel("perm", "perm")),
        ("unif", OODLevel("unif", "unif")),
        ("dataset:any name", OODLevel("dataset:any name", "dataset", source="any name")),
        *(
            (source, OODLevel(source, "dataset", source=source))
            for source in ("gormpo/hopper/random-v0", "hopper-random-v2", "x.npz", "/a/b", "y.csv")
        ),
    ],
)
def test_names_are_read(name, expected):
    assert parse_level(name) == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("permute", "ood level 'permute' is unknown, did you mean 'perm'"),
        ("obs", "'obs' is unknown, did you mean 'obs"),
        ("obs-1", "'obs-1' is unknown, did you mean 'obs1'"),
        ("obs0.5.1", "is unknown"),
        ("", "is unknown; choose from obs0.25"),
    ],
)
def test_unknown_names_are_told(name, message):
    with pytest.raises(ConfigError, match=message):
        parse_level(name)


def test_defaults_are_the_protocol():
    assert tuple(make()) == default_levels(ACT) == STATE_ACTION_LEVELS
    assert len(STATE_ACTION_LEVELS) == 16
    assert tuple(ood_rows(BASE, STD, obs_dim=5)) == default_levels(0) == PLAIN_LEVELS


@pytest.mark.parametrize(
    ("kind", "moved"),
    [("obs", [0, 1, 2]), ("act", [3, 4]), ("both", [0, 1, 2, 3, 4]), ("shift", [0, 1, 2, 3, 4])],
)
def test_shifts_move_their_columns_by_delta_standard_deviations(kind, moved):
    rows = make(f"{kind}0.5")[f"{kind}0.5"]
    still = np.setdiff1d(np.arange(5), moved)
    np.testing.assert_array_equal(rows[:, still], BASE[:, still])
    step = (rows - BASE)[:, moved] / STD[moved]
    np.testing.assert_allclose(np.abs(step), 0.5, rtol=1e-4)
    assert np.all(np.abs((step > 0).mean(axis=0) - 0.5) < 0.1)


def test_one_direction_serves_every_size_and_kind():
    made = make("obs0.25", "obs2", "both1", "act1", "shift1")
    np.testing.assert_allclose(made["obs2"] - BASE, 8 * (made["obs0.25"] - BASE), rtol=1e-3)
    np.testing.assert_array_equal(made["both1"], made["shift1"])
    np.testing.assert_array_equal(made["both1"][:, OBS:], made["act1"][:, OBS:])


def test_clipped_actions_stay_in_their_bounds():
    low, high = np.array([-0.5, -1.0]), np.array([0.25, 1.0])
    made = make("actclip1", "act1", action_low=low, action_high=high)
    expected = np.clip(made["act1"][:, OBS:], low, high)
    np.testing.assert_array_equal(made["actclip1"][:, OBS:], expected.astype(np.float32))
    np.testing.assert_array_equal(made["actclip1"][:, :OBS], BASE[:, :OBS])


def test_gormpos_shift_is_one_step_in_raw_units_with_little_noise():
    wide = {"action_low": -9, "action_high": 9}
    made = make("gormpo0.4", "gormpo2", **wide)
    step = made["gormpo0.4"] - BASE
    np.testing.assert_allclose(step.mean(axis=0), 0.4, atol=0.02)  # whatever the feature's scale
    np.testing.assert_allclose(step.std(axis=0), 0.1, rtol=0.15)
    np.testing.assert_allclose(made["gormpo2"] - made["gormpo0.4"], 1.6, rtol=1e-5)
    clipped = make("gormpo0.4")["gormpo0.4"]
    np.testing.assert_array_equal(clipped[:, OBS:], made["gormpo0.4"][:, OBS:].clip(-1, 1))
    np.testing.assert_array_equal(clipped[:, :OBS], made["gormpo0.4"][:, :OBS])


def test_gormpos_shift_needs_no_actions():
    rows = ood_rows(BASE, STD, ["gormpo1"], obs_dim=5)["gormpo1"]
    assert (rows > BASE).all()
    assert rows.dtype == np.float32


def test_perm_gives_rows_each_others_actions():
    rows = make("perm")["perm"]
    np.testing.assert_array_equal(rows[:, :OBS], BASE[:, :OBS])
    order = np.lexsort(rows[:, OBS:].T), np.lexsort(BASE[:, OBS:].T)
    np.testing.assert_array_equal(rows[order[0], OBS:], BASE[order[1], OBS:])
    assert (rows[:, OBS:] != BASE[:, OBS:]).any(axis=1).mean() > 0.95


def test_unif_fills_the_box():
    low, high = np.array([-2.0, 0.0]), np.array([0.0, 3.0])
    rows = make("unif", action_low=low, action_high=high)["unif"]
    np.testing.assert_array_equal(rows[:, :OBS], BASE[:, :OBS])
    np.testing.assert_allclose(rows[:, OBS:].min(axis=0), low, atol=0.05)
    np.testing.assert_allclose(rows[:, OBS:].max(axis=0), high, atol=0.05)
    np.testing.assert_allclose(rows[:, OBS:].mean(axis=0), (low + high) / 2, atol=0.15)


def test_rows_of_other_data_are_drawn():
    others = np.arange(5000.0).reshape(1000, 5)
    asked = []

    def load(source):
        asked.append(source)
        return others

    made = make(
        "dataset:more", "few.npz", other_rows=lambda s: load(s)[: 10 if "few" in s else None]
    )
    assert asked == ["more", "few.npz"]
    assert made["dataset:more"].shape == BASE.shape
    assert len(np.unique(made["dataset:more"][:, 0])) == N
    assert np.isin(made["dataset:more"][:, 0], others[:, 0]).all()
    np.testing.assert_array_equal(np.sort(made["few.npz"], axis=0), others[:10])


def test_columns_after_the_action_stay():
    """Rows [s, a, r, s']: a shift of both leaves reward and next state as they are."""
    rows = ood_rows(BASE, STD, ["both1"], obs_dim=2, action_dim=1)["both1"]
    np.testing.assert_array_equal(rows[:, 3:], BASE[:, 3:])
    assert (rows[:, :3] != BASE[:, :3]).all()


def test_a_window_moves_as_a_whole():
    windows = BASE.reshape(N // 4, 4, 5)
    rows = ood_rows(windows, STD, ["shift1"], obs_dim=5)["shift1"]
    step = rows - windows
    np.testing.assert_allclose(step, np.broadcast_to(step[:, :1], step.shape), atol=1e-5)
    np.testing.assert_allclose(np.abs(step), np.broadcast_to(STD, step.shape), rtol=1e-4)


@settings(max_examples=20, derandomize=True, deadline=None)
@given(st.lists(st.sampled_from(STATE_ACTION_LEVELS), min_size=1, unique=True), st.integers(0, 9))
def test_a_level_does_not_depend_on_the_others(levels, seed):
    together = make(*levels, seed=seed)
    before = BASE.copy()
    assert list(together) == levels
    for level in levels:
        np.testing.assert_array_equal(make(level, seed=seed)[level], together[level])
        assert together[level].dtype == np.float32
    np.testing.assert_array_equal(BASE, before)


def test_other_seeds_give_other_rows():
    for level in ("obs1", "perm", "unif"):
        assert (make(level, seed=1)[level] != make(level, seed=2)[level]).any()


def test_every_bad_level_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        ood_rows(BASE, STD, ["obs1", "perm", "bth1", "actclip1", "x.npz"], obs_dim=5)
    assert [problem.split("'")[1] for problem in caught.value.problems] == [
        "perm",
        "bth1",
        "actclip1",
        "x.npz",
    ]


@pytest.mark.parametrize(
    "call",
    [
        lambda: ood_rows(BASE, STD[:4], obs_dim=3),
        lambda: ood_rows(BASE, STD, obs_dim=3, action_dim=3),
        lambda: make("dataset:x", other_rows=lambda _: BASE[:, :4]),
    ],
)
def test_widths_that_do_not_fit(call):
    with pytest.raises(ShapeError, match=r"4|action_dim 3"):
        call()
