"""The errors a user can meet. Each names the offending value and where it stands."""

from collections.abc import Sequence


class GormpoDensityError(Exception):
    """Base of every error raised on purpose; the command lines turn it into exit code 2.

    Args:
        problems: One line per problem: where it stands, what is wrong, what would be right.
    """

    def __init__(self, problems: str | Sequence[str] = "") -> None:
        self._problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self._problems))

    @property
    def problems(self) -> tuple[str, ...]:
        """One line per problem, as printed by the commands."""
        return self._problems


class ConfigError(GormpoDensityError, ValueError):
    """A configuration is wrong. Every problem found is reported at once."""


class DataError(GormpoDensityError, ValueError):
    """Data is missing, malformed, non-finite or too small."""


class ShapeError(DataError):
    """An array has the wrong rank or width."""


class NotFittedError(GormpoDensityError, RuntimeError):
    """A model was used before `fit` or `load_model`."""


class NotCalibratedError(GormpoDensityError, RuntimeError):
    """A threshold, p-value or penalty was asked for before `calibrate`."""


class FitError(GormpoDensityError, RuntimeError):
    """Training cannot go on, for instance because the loss is not a number."""


class ModelFileError(GormpoDensityError, ValueError):
    """A saved model is missing, corrupt, hostile or from a newer version."""


class RunFolderError(GormpoDensityError, RuntimeError):
    """A run folder cannot be used: it belongs to another configuration."""
