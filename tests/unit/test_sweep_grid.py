import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gormpo_density.config_files import parse_yaml
from gormpo_density.errors import ConfigError
from gormpo_density.sweep_grid import make_grid, value_text

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-100, 100),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=40),
    st.lists(st.one_of(st.integers(), st.floats(-1e30, 1e30)), max_size=4),
)


def labels(*settings: str) -> list[str]:
    return [point.label for point in make_grid(settings)]


def run_names(*settings: str) -> list[str]:
    return [point.run_name(1) for point in make_grid(settings)]


def test_a_grid_is_every_combination_the_last_setting_fastest() -> None:
    points = make_grid(["penalty.coef=0.3,1", "sac.kl=0,.5", "sac.epochs=4"])
    assert [point.label for point in points] == [
        "coef=0.3, kl=0",
        "coef=0.3, kl=0.5",
        "coef=1, kl=0",
        "coef=1, kl=0.5",
    ]
    assert points[1].settings == {"penalty.coef": 0.3, "sac.kl": 0.5, "sac.epochs": 4}
    assert points[1].overrides == ["penalty.coef=0.3", "sac.kl=0.5", "sac.epochs=4"]
    assert points[1].run_name(7) == "coef=0.3-kl=0.5-seed7"


def test_without_settings_there_is_one_point() -> None:
    assert labels() == labels("sac.epochs=4") == ["as configured"]
    assert run_names("sac.epochs=4") == ["seed1"]


def test_only_commas_at_the_top_separate() -> None:
    (first, second, third) = make_grid(["a.b=[1,[2,3]],{x: 1, y: 2},'p,q'"])
    assert [p.settings["a.b"] for p in (first, second, third)] == [
        [1, [2, 3]],
        dict(x=1, y=2),
        "p,q",
    ]
    assert third.overrides == ['a.b="p,q"']


def test_values_are_read_as_in_a_configuration() -> None:
    assert labels("fit.lr=3e-4,1e-3,1e6") == ["lr=0.0003", "lr=0.001", "lr=1000000"]
    assert [point.settings for point in make_grid(["a=yes,null,'1'"])] == [
        {"a": True},
        {"a": None},
        {"a": "1"},
    ]
    assert make_grid(["density="])[0].overrides == ["density=null"]


def test_short_names_are_told_apart() -> None:
    assert labels("fit.lr=1,2", "sac.actor.lr=3,4", "sac.critic.lr=5,6")[0] == (
        "fit.lr=1, actor.lr=3, critic.lr=5"
    )
    assert labels("lr=1,2", "fit.lr=3,4")[0] == "lr=1, fit.lr=3"


def test_folders_have_readable_names() -> None:
    assert run_names("a.dims=[64,64],[256]") == ["dims=64-64-seed1", "dims=256-seed1"]
    assert run_names("m.name=vae,realnvp") == ["name=vae-seed1", "name=realnvp-seed1"]
    assert run_names("c=-1,1") == ["c=-1-seed1", "c=1-seed1"]
    deep, other = run_names("data_path=/some/very/deep/folder/with/data.npz,/b")
    assert re.fullmatch(r"data_path=.{24}-[0-9a-f]{8}-seed1", deep)
    assert re.fullmatch(r"data_path=-b-[0-9a-f]{8}-seed1", other)


@given(st.lists(VALUES, min_size=2, max_size=6, unique_by=value_text))
@settings(derandomize=True, max_examples=60, deadline=None)
def test_points_differ_in_their_folders_and_say_their_settings_exactly(values: list) -> None:
    points = make_grid([f"a.b={','.join(map(_quoted, values))}"])
    assert [point.settings["a.b"] for point in points] == values
    names = {point.run_name(1) for point in points}
    assert len(names) == len(values)
    assert all(re.fullmatch(r"[\w.+=-]{1,50}", name, re.ASCII) for name in names)
    for point, value in zip(points, values, strict=True):
        assert parse_yaml(point.overrides[0].partition("=")[2], "test") == value


def _quoted(value: object) -> str:
    text = value_text(value)
    return "'" + text.replace("'", "''") + "'" if isinstance(value, str) else text


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["coef"], "--set coef must be of the form a.b=v"),
        (["=1"], "--set =1 must be of the form"),
        (["a=1", "a=2"], "--set a is given twice"),
        (["a=1,1.0,1"], "--set a=1,1.0,1: 1 is given twice"),
        (["a=1,'1'"], "1 is given twice"),
        (["a=1,,2"], "--set a=1,,2"),
        (["a=[1,2"], r"--set a=\[1,2"),
        (["a=1],[2"], r"--set a=1\],\[2"),
    ],
)
def test_malformed_settings_are_told(given: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        make_grid(given)
    assert len(caught.value.problems) == 1
