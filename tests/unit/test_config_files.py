import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gormpo_density import config_files
from gormpo_density.config_files import dump_yaml, find_config, parse_json, parse_yaml, read_config
from gormpo_density.errors import ConfigError

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
looks_like_a_number = st.from_regex(r"[-+]?[0-9.]{1,3}([eE][-+]?[0-9]{1,2})?", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("1e-3", 1e-3),
        ("-2.5E+2", -250),
        (".5e0", 0.5),
        ("1e6", 1_000_000),
        ("1.5e3", 1500),
        ("5.0", 5.0),
        ("1e400", math.inf),
        ("0.1", 0.1),
        ("'1e6'", "1e6"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("no", False),
        ("off", False),
        ("2024-01-31", "2024-01-31"),
        ("cuda:0", "cuda:0"),
        ("", None),
    ],
)
def test_scalars(text: str, value: object) -> None:
    parsed = parse_yaml(text, "here")
    assert parsed == value
    assert type(parsed) is type(value)


def test_whole_numbers_with_an_exponent_are_integers_in_json_too() -> None:
    assert str(parse_json('{"a": 1e6, "b": 1e-3}', "here")) == "{'a': 1000000, 'b': 0.001}"


def test_an_anchor_repeats_values_without_sharing_them() -> None:
    values = parse_yaml("a: &x {n: 1, m: 2}\nb: *x\nc: {<<: *x, m: 3}", "here")
    values["a"]["n"] = 9
    assert values == {"a": {"n": 9, "m": 2}, "b": {"n": 1, "m": 2}, "c": {"n": 1, "m": 3}}


def test_a_key_repeated_alike_at_the_top_is_told(caplog) -> None:
    assert parse_yaml("a: 1\nb: 2\na: 1", "here") == {"a": 1, "b": 2}
    assert caplog.messages == ["line 3: a is given twice, alike"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml:3: a is given twice"),
        ("a: 1\na: '1'", "f.yaml:2: a is given twice"),
        ("a: [1]\na: [1]", "f.yaml:2: a is given twice"),
        ("fit:\n  lr: 1\n  lr: 1", "f.yaml:3: lr is given twice"),
        ("a: 1\n  b: 2", "f.yaml:2: mapping values are not allowed here"),
        ("a: [1, 2", "f.yaml:1: expected ',' or ']', but got '<stream end>'"),
        ("1: 2", "f.yaml:1: keys must be text"),
        ("on: 2", "f.yaml:1: keys must be text"),
        ("a: b\n? [c]\n: 1", "f.yaml:2: keys must be text"),
        ("a: !!python/name:os.system x", "f.yaml:1: tags (!) are not used here"),
        ("a: !!int x", "f.yaml:1: tags (!) are not used here"),
        ("a: *x", "f.yaml:1: found undefined alias 'x'"),
        ("a: &x [*x]", "f.yaml: Circular reference detected"),
        ("a: 0b_", "f.yaml: invalid literal for int() with base 2: ''"),
        ("[" * 1200, "f.yaml: nested too deeply"),
        ("a: 1\n---\nb: 2", "f.yaml:2: but found another document"),
        ("a: \x00", "f.yaml: unacceptable character #x0000: special characters are not allowed"),
    ],
)
def test_what_is_wrong_with_yaml_is_said_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_yaml(text, "f.yaml")
    (line,) = error.value.problems
    assert line.startswith(problem)
    assert "\n" not in line


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1,\n "b": }', "f.json:2: Expecting value"),
        ('{"a": 1, "a": 2}', "f.json: a is given twice"),
        ("[" * 100_000, "f.json: nested too deeply"),
    ],
)
def test_what_is_wrong_with_json_is_said(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_json(text, "f.json")
    assert error.value.problems == (problem,)


@given(plain | looks_like_a_number)
@settings(derandomize=True, max_examples=200, deadline=None)
def test_a_dump_reads_back_equal(values: object) -> None:
    assert parse_yaml(dump_yaml(values), "here") == values


def test_a_file_is_read_by_its_ending(tmp_path) -> None:
    (tmp_path / "a.json").write_text('{"fit": {"lr": 3e-4}}')
    (tmp_path / "a.yaml").write_text("fit:\n  lr: 3e-4\n")
    assert read_config(tmp_path / "a.json") == read_config(tmp_path / "a.yaml")


def test_an_empty_file_sets_nothing(tmp_path) -> None:
    (tmp_path / "a.yaml").write_text("# nothing\n")
    assert read_config(tmp_path / "a.yaml") == {}


def test_a_file_must_be_a_mapping_in_utf8(tmp_path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("- 1\n")
    with pytest.raises(ConfigError, match=r"a\.yaml: must be a mapping"):
        read_config(path)
    path.write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match=r"a\.yaml: not UTF-8"):
        read_config(path)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Return a working folder with shipped configurations elsewhere."""
    here, package = tmp_path / "here", tmp_path / "package"
    (here / "configs" / "mopo").mkdir(parents=True)
    (package / "configs").mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setattr(config_files, "_PACKAGE", package)
    return here, package


def test_beside_you_comes_before_configs_before_the_package(places) -> None:
    here, package = places
    for folder in (package / "configs", here / "configs", here):
        (folder / "hopper.yaml").write_text("")
        assert find_config("hopper.yaml").resolve() == folder / "hopper.yaml"


def test_a_name_may_lack_its_ending_and_have_folders(places) -> None:
    here, _ = places
    (here / "configs" / "mopo" / "ant.yml").write_text("")
    assert find_config("mopo/ant").as_posix() == "configs/mopo/ant.yml"
    assert find_config(here / "configs/mopo/ant.yml").is_absolute()


def test_a_checkout_has_them_beside_the_package(places, monkeypatch) -> None:
    _, package = places
    monkeypatch.setattr(config_files, "_PACKAGE", package / "gormpo_density")
    (package / "configs" / "hopper.yaml").write_text("")
    assert find_config("hopper") == package / "configs" / "hopper.yaml"


def test_an_unknown_name_lists_near_ones(places) -> None:
    here, _ = places
    for name in ("hopper.yaml", "walker2d.yaml", "mopo/ant.json"):
        (here / "configs" / name).write_text("")
    with pytest.raises(ConfigError) as error:
        find_config("hoper.yaml")
    assert error.value.problems == (
        "config 'hoper.yaml' is not found; there are hopper.yaml, walker2d.yaml",
    )
