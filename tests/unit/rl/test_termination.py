import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from gormpo_density.errors import ConfigError
from rl import termination
from rl.termination import RULES, environment_family, termination_rule


def ended(rule: termination.Termination, *next_obs: list[float]) -> list[bool]:
    rows = torch.tensor(next_obs)
    answer: list[bool] = rule(rows, rows, rows).tolist()
    return answer


@pytest.mark.parametrize("version", ["v2", "v3", "v4", "v5"])
@pytest.mark.parametrize("family", RULES)
def test_auto_finds_the_rule_of_every_version(family: str, version: str) -> None:
    assert termination_rule("auto", f"{family}-{version}") is RULES[family]


def test_a_family_may_be_named_for_any_environment() -> None:
    assert termination_rule("Hopper", "TallHopper-v0") is termination.hopper
    assert termination_rule("never", None) is termination.never


@pytest.mark.parametrize(
    "env_id", ["TallHopper-v5", "HopperTall-v5", "hopper-v5", "mine/Hopper-v5", "Hopper-v5x", ""]
)
def test_an_environment_has_the_rule_of_its_own_name_and_no_other(env_id: str) -> None:
    with pytest.raises(ConfigError) as caught:
        termination_rule("auto", env_id)
    (problem,) = caught.value.problems
    assert problem == (
        f"no termination rule is known for {env_id!r}; set rollout.termination to "
        "'package.module:function', 'learned', 'never' or one of Ant, HalfCheetah, Hopper, "
        "Humanoid, HumanoidStandup, InvertedPendulum, Pusher, Reacher, Swimmer, Walker2d"
    )


def test_data_without_an_environment_need_a_named_rule() -> None:
    with pytest.raises(ConfigError, match="is known for data of an unknown environment; set"):
        termination_rule("auto", None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hopper", "termination rule 'hopper' is unknown, did you mean 'Hopper'?"),
        ("nevr", "termination rule 'nevr' is unknown, did you mean 'never'?"),
        ("xyz", "termination rule 'xyz' is unknown; choose from Ant, .*, package.module:function"),
        ("learned", "a learned termination is fitted on data"),
        ("no.such:rule", "termination rule 'no.such:rule' cannot be imported: No module named"),
        ("math:nan_rule", "termination rule 'math:nan_rule' cannot be imported: .*nan_rule"),
        ("math:pi", "termination rule 'math:pi' is not a function"),
        (":rule", "termination rule ':rule' cannot be imported: "),
    ],
)
def test_a_wrong_name_is_answered_in_one_line(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        termination_rule(name, "Hopper-v5")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("env_id", "family"),
    [
        ("Hopper-v5", "Hopper"),
        ("Hopper-v12", "Hopper"),
        ("a/B-c-v0", "a/B-c"),
        ("Hopper", "Hopper"),
    ],
)
def test_environment_family_drops_the_version(env_id: str, family: str) -> None:
    assert environment_family(env_id) == family


# A rule of the user's own ------------------------------------------------------------------


@pytest.fixture
def user_rule(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the termination rule "math:mine" a body."""

    def provide(body: Any) -> termination.Termination:
        monkeypatch.setattr(math, "mine", body, raising=False)
        return termination_rule("math:mine", None)

    return provide


def test_a_users_rule_decides_and_broken_rows_end_all_the_same(user_rule: Any) -> None:
    def far_from_home(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        return (next_obs - obs).norm(dim=1) > action[:, 0]

    rule = user_rule(far_from_home)
    obs, action = torch.zeros(4, 2), torch.ones(4, 1)
    next_obs = torch.tensor([[0.5, 0.0], [0.0, -3.0], [math.nan, 0.0], [0.0, math.inf]])
    assert rule(obs, action, next_obs).tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (torch.zeros(3), r"torch.float32 \(3,\)"),
        (torch.zeros(3, 1, dtype=torch.bool), r"torch.bool \(3, 1\)"),
        (torch.tensor(False), r"torch.bool \(\)"),
        ([False] * 3, "list"),
        (None, "NoneType"),
    ],
)
def test_a_users_rule_that_answers_wrongly_is_named(
    user_rule: Any, answer: Any, found: str
) -> None:
    rule = user_rule(lambda *_: answer)
    text = rf"rule 'math:mine' must return a bool tensor of shape \(3,\), got {found}$"
    with pytest.raises(ConfigError, match=text):
        rule(torch.zeros(3, 2), torch.zeros(3, 1), torch.zeros(3, 2))


# Other ranges than the default ones --------------------------------------------------------


def test_ranges_of_the_environments_constructor_are_parameters() -> None:
    crouching = [0.5] + 10 * [0.0]
    assert ended(termination.hopper, crouching) == [True]
    low = partial(termination.hopper, healthy_z_range=(0.4, 1.0))
    assert ended(low, crouching, [1.1] + 10 * [0.0]) == [False, True]
    calm = partial(low, healthy_state_range=(-5.0, 5.0), healthy_angle_range=(-3.0, 3.0))
    assert ended(calm, [0.5, 2.9] + 9 * [0.0], [0.5] + 9 * [0.0] + [-5.0]) == [False, True]
    strict = partial(termination.walker2d, healthy_z_range=(1.0, 1.5), healthy_angle_range=(0, 1))
    assert ended(strict, [1.2, 0.5], [1.6, 0.5], [1.2, -0.5]) == [False, True, True]
    flying = partial(termination.ant, healthy_z_range=(0.2, 3.0))
    assert ended(flying, [3.0], [3.1]) == [False, True]
    kneeling = partial(termination.humanoid, healthy_z_range=(0.5, 2.0))
    assert ended(kneeling, [0.6], [0.5]) == [False, True]
    wide = partial(termination.inverted_pendulum, max_angle=0.5)
    assert ended(wide, [0.0, -0.5], [0.0, -0.51]) == [False, True]
