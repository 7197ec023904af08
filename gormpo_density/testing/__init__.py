"""The conformance suite: what every density model and penalty promises, for anyone to check.

A plug-in's author writes, with pytest,

    @pytest.mark.parametrize("check", density_model_checks(MyModel), ids=str)
    def test_my_model_keeps_its_promises(check):
        check()

or calls `check_density_model(MyModel)`. Only the public interface is used. `penalty_checks` and
`check_penalty` do the same for a function of u and cap.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from gormpo_density.registry import Formula
from gormpo_density.testing import decisions, fitting, penalties, sampling, scoring, sequences
from gormpo_density.testing.subject import Factory, Shape, Subject

SHAPES: tuple[Shape, ...] = (3, 1, 2, (4, 2))
FIT_OPTIONS: Mapping[str, Any] = {"epochs": 8, "batch_size": 64}


@dataclass(frozen=True)
class Check:
    """One promise by name: call it to have it checked."""

    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        """Run the check.

        Raises:
            AssertionError: The promise is broken or the check fails; the text says how.
        """
        try:
            self.run()
        except AssertionError as error:
            raise AssertionError(f"{self.name}: {error}") from error
        except Exception as error:
            raise AssertionError(f"{self.name}: {type(error).__name__}: {error}") from error

    def __str__(self) -> str:
        return self.name


def density_model_checks(
    factory: Factory,
    shapes: Sequence[Shape] = SHAPES,
    fit_options: Mapping[str, Any] = FIT_OPTIONS,
) -> list[Check]:
    """Return the checks of one model. They share one fitted model and leave it as it is.

    Args:
        factory: Builds a new model from its input_dim, for instance the class itself.
        shapes: Every input_dim to try; most checks use the first, of at least two features.
        fit_options: Options of `fit` under which the model is small and fast.
    """
    subject = Subject(factory, shapes, fit_options)
    modules = (fitting, scoring, decisions, sampling, sequences)
    return [check for module in modules for check in _checks(module, subject)]


def check_density_model(
    factory: Factory,
    shapes: Sequence[Shape] = SHAPES,
    fit_options: Mapping[str, Any] = FIT_OPTIONS,
) -> None:
    """Run every check of `density_model_checks`, with the same arguments.

    Raises:
        AssertionError: The model breaks a promise; the text says which and how.
    """
    for check in density_model_checks(factory, shapes, fit_options):
        check()


def penalty_checks(formula: Formula) -> list[Check]:
    """Return the checks of one penalty, a function of the surprise u (B,) and of cap."""
    return list(_checks(penalties, formula))


def check_penalty(formula: Formula) -> None:
    """Run every check of `penalty_checks`.

    Raises:
        AssertionError: The penalty breaks a promise; the text says which and how.
    """
    for check in penalty_checks(formula):
        check()


def _checks(module: ModuleType, subject: object) -> Iterator[Check]:
    for name, function in vars(module).items():
        if name.startswith("check_"):
            yield Check(name.removeprefix("check_"), functools.partial(function, subject))
