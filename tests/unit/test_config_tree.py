import pytest

from gormpo_density.config_tree import COMMAND_LINE, ConfigTree
from gormpo_density.errors import ConfigError
from gormpo_density.schema import Section


class Fit(Section):
    lr: float = 0.1


class Root(Section):
    seed: int = 0
    fit: Fit = Fit()


ALIASES = {"lr": "fit.lr"}


def tree(**values) -> ConfigTree:
    return ConfigTree(values, "f.yaml")


def problems(of: ConfigTree) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as error:
        of.validate(Root)
    return error.value.problems


def test_a_setting_makes_the_sections_above_it() -> None:
    made = tree()
    made.override(["fit.lr=3e-4", "seed = 7"], ALIASES)
    assert made.values == {"fit": {"lr": 3e-4}, "seed": 7}
    assert made.validate(Root) == Root(seed=7, fit=Fit(lr=3e-4))


def test_the_last_setting_wins_and_an_alias_is_its_path() -> None:
    made = tree(fit={"lr": 1.0})
    made.override(["fit.lr=2", "lr=3"], ALIASES)
    assert made.get("fit.lr") == 3


def test_a_value_may_hold_an_equals_sign() -> None:
    made = tree()
    made.override(["a=b=c"], {})
    assert made.get("a") == "b=c"


@pytest.mark.parametrize(
    ("there", "settings", "lr", "origin"),
    [
        (None, [], 2.0, "f.yaml (lr)"),
        (None, ["fit.lr=7"], 7, "command line"),
        (1.0, ["lr=9"], 2.0, "command line (lr)"),
    ],
)
def test_what_a_key_means_is_outdone_by_the_command_line_only(there, settings, lr, origin) -> None:
    made = tree(lr=5.0, fit={"lr": there})
    made.override(settings, {})
    made.claim("lr", "fit.lr", 2.0)
    assert made.values == {"fit": {"lr": lr}}
    assert made.origin("fit.lr") == origin
    assert made.problems == []


@pytest.mark.parametrize(
    ("settings", "source"), [([], "f.yaml"), (["lr=1", "fit.lr=1"], "command line")]
)
def test_a_key_and_its_path_from_one_place_contradict_each_other(settings, source) -> None:
    made = tree(lr=5.0, fit={"lr": 1.0})
    made.override(settings, {})
    made.claim("lr", "fit.lr", 2.0)
    assert problems(made) == (f"{source}: lr and fit.lr are the same; keep one",)


def test_without_a_name_a_tree_is_empty() -> None:
    made = ConfigTree.read(None)
    assert (made.values, made.source) == ({}, COMMAND_LINE)


def test_get_is_none_where_there_is_nothing() -> None:
    assert tree(seed=1).get("fit.lr") is None
    assert tree(seed=1).get("seed.x") is None


def test_an_alias_moves_to_its_section() -> None:
    made = tree(lr=2.0, seed=1)
    made.rename(ALIASES)
    assert made.values == {"seed": 1, "fit": {"lr": 2.0}}
    assert made.origin("fit.lr") == "f.yaml (lr)"


def test_an_alias_beside_its_path_is_a_conflict_unless_they_are_alike(caplog) -> None:
    made = tree(lr=2.0, fit={"lr": 1.0})
    made.rename(ALIASES)
    assert problems(made) == ("f.yaml: lr and fit.lr are the same; keep one",)
    alike = tree(lr=2.0, fit={"lr": 2.0})
    alike.rename(ALIASES)
    assert (alike.values, alike.problems) == ({"fit": {"lr": 2.0}}, [])
    assert caplog.messages == ["f.yaml: lr and fit.lr are given, alike"]


def test_every_value_has_an_origin() -> None:
    made = tree(seed=1, fit={"lr": 1})
    made.override(["fit.lr=2", "other.deep.key=1"], {})
    assert made.origin("seed") == "f.yaml"
    assert made.origin("fit") == "f.yaml"
    assert made.origin("fit.lr") == made.origin("fit.lr.x") == COMMAND_LINE
    assert made.origin("other") == made.origin("other.deep") == COMMAND_LINE


def test_all_problems_come_at_once_each_with_its_origin() -> None:
    made = tree(seed="x", fit={"lrr": 1})
    made.override(["fit.lr=a", "oops", "=1", "seed.x=1", "fit.lr=[", "nothing=1"], {})
    assert problems(made) == (
        "command line: --set oops must be of the form a.b=v",
        "command line: --set =1 must be of the form a.b=v",
        "command line: seed.x is unknown, seed is not a section",
        "command line (fit.lr=[):1: expected the node content, but found '<stream end>'",
        'f.yaml: seed must be a valid integer, is "x"',
        'command line: fit.lr must be a valid number, is "a"',
        "f.yaml: fit.lrr is unknown, did you mean 'lr'?",
        "command line: nothing is unknown; choose from seed, fit",
    )


def test_a_problem_outside_the_schema_is_enough() -> None:
    made = tree()
    made.problems.append("found elsewhere")
    assert problems(made) == ("found elsewhere",)


def test_a_section_left_empty_takes_its_defaults() -> None:
    assert tree(fit=None, seed=None).validate(Root) == Root()


def test_an_unknown_key_left_empty_is_still_unknown() -> None:
    assert problems(tree(fti=None)) == ("f.yaml: fti is unknown, did you mean 'fit'?",)


def test_a_file_is_read_by_name(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("seed: 3")
    made = ConfigTree.read("a")
    assert (made.source, made.values) == ("a.yaml", {"seed": 3})
