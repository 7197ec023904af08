from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Le

from gormpo_density.errors import ConfigError
from gormpo_density.schema import Section, section_at, signature_model, validate

if TYPE_CHECKING:
    from numpy import ndarray


class Base:
    def fit(
        self,
        train_data: Any,
        val_data: Any = None,
        *,
        epochs: Annotated[int, Ge(1)] = 100,
        lr: Annotated[float, Gt(0)] = 1e-3,
        on_epoch: Callable[[int], None] | None = None,
    ) -> None: ...


class Toy(Base):
    def __init__(
        self,
        input_dim: int,
        width: "Annotated[int, Ge(1), Le(512)]" = 64,
        hidden_dims: Sequence[Annotated[int, Ge(1)]] = (128, 128),
        kind: Literal["a", "b"] = "a",
        clip: float | None = None,
        tied: bool = False,
        where: Path = Path("x"),
        either: int | str = 1,
        device: str = "cpu",
    ) -> None: ...

    def fit(
        self,
        train_data: Any,
        val_data: Any = None,
        *,
        beta: float = 1.0,
        lr: float = 0.5,
        **options: Any,
    ) -> None: ...


class Silent(Toy):
    """Overrides nothing."""


class Closed(Toy):
    def fit(self, train_data: Any, bandwidth: float, *more: float) -> None: ...


class Unreadable:
    def fit(self, x: "ndarray") -> None: ...  # imported for type checkers only


ToyParams = signature_model(Toy, "__init__", Section, frozenset({"input_dim", "device"}))


def parse(**values: Any) -> Section:
    return validate(ToyParams, values, lambda path: "f.yaml")


def problems(schema: type[Section] = ToyParams, **values: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as error:
        validate(schema, values, lambda path: "f.yaml")
    return error.value.problems


def test_the_keys_are_the_named_parameters_with_their_defaults() -> None:
    assert dict(parse()) == {
        "width": 64,
        "hidden_dims": [128, 128],
        "kind": "a",
        "clip": None,
        "tied": False,
        "where": Path("x"),
        "either": 1,
    }


@pytest.mark.parametrize(
    ("cls", "keys"),
    [
        (Base, {"epochs", "lr"}),
        (Toy, {"beta", "lr", "epochs"}),
        (Silent, {"beta", "lr", "epochs"}),
        (Closed, {"bandwidth"}),
    ],
)
def test_options_passed_on_add_the_parameters_of_the_overridden_method(cls, keys) -> None:
    skip = frozenset({"train_data", "val_data", "on_epoch"})
    assert signature_model(cls, "fit", Section, skip).model_fields.keys() == keys


def test_the_overriding_method_decides_a_default() -> None:
    schema = signature_model(
        Toy, "fit", Section, frozenset({"train_data", "val_data", "on_epoch"})
    )
    assert dict(validate(schema, {}, str)) == {"beta": 1.0, "lr": 0.5, "epochs": 100}


def test_the_same_arguments_give_the_same_class() -> None:
    again = signature_model(Toy, "__init__", Section, frozenset({"input_dim", "device"}))
    assert again is ToyParams


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"width": True}, "width must be a valid integer, is true"),
        ({"width": 2.5}, "width must be a valid integer, is 2.5"),
        ({"width": "2"}, 'width must be a valid integer, is "2"'),
        ({"width": 0}, "width must be greater than or equal to 1, is 0"),
        ({"width": 513}, "width must be less than or equal to 512, is 513"),
        ({"width": None}, "width must be a valid integer, is null"),
        ({"clip": False}, "clip must be a valid number, is false"),
        ({"clip": float("nan")}, "clip must be a finite number, is NaN"),
        ({"clip": float("inf")}, "clip must be a finite number, is Infinity"),
        ({"tied": 1}, "tied must be a valid boolean, is 1"),
        ({"kind": "c"}, "kind must be 'a' or 'b', is \"c\""),
        ({"hidden_dims": 3}, "hidden_dims must be a valid array, is 3"),
        ({"hidden_dims": [3, 0]}, "hidden_dims.1 must be greater than or equal to 1, is 0"),
        ({"hidden_dims": "256"}, 'hidden_dims must be a valid array, is "256"'),
        ({"either": []}, "either must be a valid integer or must be a valid string, is []"),
        ({"widht": 3}, "widht is unknown, did you mean 'width'?"),
        (
            {"zzz": 3},
            "zzz is unknown; choose from width, hidden_dims, kind, clip, tied, where, either",
        ),
        ({"where": [0] * 100}, "where must be a valid string, is [" + "0, " * 18 + "0,..."),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, Any], problem: str) -> None:
    (line,) = problems(**values)
    assert line.startswith(f"f.yaml: {problem}"[:80])


def test_every_problem_is_told_at_once() -> None:
    assert problems(width=0, clip="x", foo=1)[:2] == (
        "f.yaml: width must be greater than or equal to 1, is 0",
        'f.yaml: clip must be a valid number, is "x"',
    )


def test_a_key_of_another_section_is_found_there() -> None:
    class Fit(Section):
        learning_rate: float = 1.0

    class Root(Section):
        toy: ToyParams = ToyParams()
        fit: Fit = Fit()

    assert problems(Root, toy={"learning_rate": 1}) == (
        "f.yaml: toy.learning_rate is unknown, did you mean 'fit.learning_rate'?",
    )
    assert problems(Root, learning_rte=1) == (
        "f.yaml: learning_rte is unknown, did you mean 'fit.learning_rate'?",
    )
    assert section_at(Root, ["fit"]) is Fit
    assert section_at(Root, ["fit", "learning_rate"]) is None


def test_a_required_key_is_missed() -> None:
    schema = signature_model(Closed, "fit", Section, frozenset({"train_data"}))
    assert problems(schema) == ("f.yaml: bandwidth is missing",)


def test_a_default_of_the_wrong_type_is_found() -> None:
    class Wrong:
        def fit(self, epochs: int = 1.5) -> None: ...

    schema = signature_model(Wrong, "fit", Section)
    assert problems(schema) == ("f.yaml: epochs must be a valid integer, is 1.5",)


def test_a_default_that_no_file_can_hold_is_found() -> None:
    class Wrong:
        def fit(self, activation: Any = object()) -> None: ...  # noqa: B008 - what is tested

    with pytest.raises(ConfigError, match=r"f\.yaml: a default cannot be written to a file"):
        validate(signature_model(Wrong, "fit", Section), {}, lambda path: "f.yaml")


def test_a_section_does_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse().width = 3


def test_a_signature_that_cannot_be_read_names_its_class() -> None:
    with pytest.raises(ConfigError, match=r"Unreadable\.fit: .*'ndarray' is not defined"):
        signature_model(Unreadable, "fit", Section)
