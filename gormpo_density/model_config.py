"""Which model, with which parameters: the `model` and `fit` sections, read off its class."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import create_model

from gormpo_density.config_tree import COMMAND_LINE, ConfigTree
from gormpo_density.errors import ConfigError
from gormpo_density.gormpo_keys import implied_model
from gormpo_density.schema import Section, signature_model

DEFAULT_MODEL = "realnvp"

# Parameters that the data, the run folder or the command decide.
_NOT_MODEL_KEYS = frozenset({"input_dim", "n_features", "sequence_length", "device", "seed"})
_NOT_FIT_KEYS = frozenset(
    {"train_data", "val_data", "test_data", "anomalies"}
    | {"seed", "checkpoint", "on_epoch", "progress"}
)


S = TypeVar("S", bound=Section)
FindClass = Callable[[str], type]


class ModelSection(Section):
    """The model by name; its parameters are added by `model_schema`."""

    name: str = DEFAULT_MODEL

    @property
    def params(self) -> dict[str, Any]:
        """Parameters for `make_model(name, input_dim=..., **params)`."""
        return {key: value for key, value in self if key != "name"}


@functools.cache
def model_schema(cls: type | None, base: type[S]) -> type[S]:
    """Return a schema with the parameters of a model class; None leaves them unchecked.

    A parameter of both `__init__` and `fit`, such as a VAE's beta, is the model section's.

    Args:
        cls: The model's class.
        base: Schema of the command, to be extended.

    Raises:
        ConfigError: The signatures of the class cannot be read.
    """
    model: Any = Any
    fit: Any = Any
    if cls is not None:
        model = signature_model(cls, "__init__", ModelSection, _NOT_MODEL_KEYS)
        fit = signature_model(cls, "fit", Section, _NOT_FIT_KEYS.union(model.model_fields))
    return create_model(base.__name__, __base__=base, model=(model, ...), fit=(fit, ...))


def switch_model(tree: ConfigTree, name: str, find_class: FindClass) -> None:
    """Put a model in place of the file's, keeping the keys of `model` and `fit` that both have."""
    tree.set("model.name", name, COMMAND_LINE)
    schema = model_schema(_noted_class(tree, name, find_class), Section)
    for section in ("model", "fit"):
        fields = getattr(schema.model_fields[section].annotation, "model_fields", {})
        old = tree.get(section)
        if isinstance(old, dict):
            tree.values[section] = {key: value for key, value in old.items() if key in fields}


def chosen_class(tree: ConfigTree, default: str, find_class: FindClass) -> type | None:
    """Return the class of the model section, naming it where the file does not."""
    for section in ("model", "fit"):
        if tree.get(section) is None:
            tree.values[section] = {}
    params = tree.get("model")
    if not isinstance(params, dict):
        return find_class(default)  # the schema reports the section
    name = params.setdefault("name", implied_model(params) or default)
    return _noted_class(tree, name if isinstance(name, str) else default, find_class)


def _noted_class(tree: ConfigTree, name: str, find_class: FindClass) -> type | None:
    """Return the class called `name`; None, with the problem noted, when there is none."""
    try:
        cls = find_class(name)
        model_schema(cls, Section)
    except ConfigError as error:
        lines = [f"{tree.origin('model.name')}: {problem}" for problem in error.problems]
        tree.problems.extend(line for line in lines if line not in tree.problems)
        return None
    return cls
