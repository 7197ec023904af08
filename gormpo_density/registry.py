"""Models and penalties by name: built in, installed by another package, registered or imported."""

import contextlib
import difflib
import importlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor

from gormpo_density.errors import ConfigError

if TYPE_CHECKING:
    from gormpo_density.base import DensityModel

ENTRY_POINT_GROUP = "gormpo_density.models"
PENALTY_GROUP = "gormpo_density.penalties"

_BUILT_IN = {
    "cnf": "gormpo_density.models.cnf:CNF",
    "diffusion": "gormpo_density.models.diffusion:DiffusionDensity",
    "ensemble": "gormpo_density.models.ensemble:Ensemble",
    "gmm": "gormpo_density.models.gmm:GMM",
    "kde": "gormpo_density.models.kde:KDE",
    "knn": "gormpo_density.models.knn:KNN",
    "pca_flow": "gormpo_density.models.pca_flow:PCAFlow",
    "realnvp": "gormpo_density.models.realnvp:RealNVP",
    "recurrent_ae": "gormpo_density.models.recurrent_ae:RecurrentAE",
    "vae": "gormpo_density.models.vae:VAE",
    "vae_lstm": "gormpo_density.models.vae_lstm:VAELSTM",
}
#: Found by name in a saved folder, but not offered: they are only read from GORMPO's files.
_READ_ONLY = {
    "gormpo_realnvp": "gormpo_density.compat.models:GormpoRealNVP",
    "gormpo_vae": "gormpo_density.compat.models:GormpoVAE",
}
_registered: "dict[str, type[DensityModel]]" = {}
_penalties: "dict[str, Formula]" = {}
_paths_allowed: ContextVar[bool] = ContextVar("_paths_allowed", default=True)

#: A penalty: of the surprise u (B,) and the largest u that counts, (B,).
Formula = Callable[[Tensor, float], Tensor]

M = TypeVar("M", bound="type[DensityModel]")
F = TypeVar("F", bound=Formula)


def register_model(name: str) -> Callable[[M], M]:
    """Return a class decorator that makes a `DensityModel` available under `name`.

    Raises:
        ConfigError: The name is taken by another class.
    """

    def register(cls: M) -> M:
        taken = _path(_registered[name]) if name in _registered else _BUILT_IN.get(name)
        if taken not in (None, _path(cls)):
            raise ConfigError(f"model name {name!r} is taken by {taken}")
        _registered[name] = cls
        return cls

    return register


def available_models() -> tuple[str, ...]:
    """Return every model name, sorted: built in, installed and registered."""
    offered = {*_BUILT_IN, *_installed(ENTRY_POINT_GROUP), *_registered}
    return tuple(sorted(offered - _READ_ONLY.keys()))


def model_class(name: str) -> "type[DensityModel]":
    """Return the class behind a name, or behind "package.module:Class".

    Raises:
        ConfigError: Nothing has that name (near names are listed), it cannot be imported, or it
            is not a `DensityModel`.
    """
    if name in _registered:
        return _registered[name]
    path = {**_installed(ENTRY_POINT_GROUP), **_READ_ONLY, **_BUILT_IN}.get(name)
    if ":" in name and _paths_allowed.get():
        path = name
    if path is None:
        raise ConfigError(f"model {name!r} is unknown{suggestion(name, available_models())}")
    cls = _model(path)
    return register_model(name)(cls)


@contextlib.contextmanager
def names_only() -> Iterator[None]:
    """Import nothing by path: what a file says must not decide which code runs."""
    token = _paths_allowed.set(False)
    try:
        yield
    finally:
        _paths_allowed.reset(token)


def make_model(name: str, **params: Any) -> "DensityModel":
    """Build the model called `name`, for instance `make_model("realnvp", input_dim=14)`.

    Every model can be built from its input_dim; a sequence model's n_features and
    sequence_length are worked out from it, see `SequenceModel.of_shape`.

    Raises:
        ConfigError: The name is unknown or a parameter does not fit.
    """
    from gormpo_density.sequence import SequenceModel

    cls = model_class(name)
    try:
        if issubclass(cls, SequenceModel) and "input_dim" in params:
            return cls.of_shape(**params)
        return cls(**params)
    except TypeError as error:
        raise ConfigError(f"model {name!r}: {error}") from error


def model_name(model: "DensityModel | type[DensityModel]") -> str:
    """Return the name a model is found under, "package.module:Class" when it has none."""
    cls = model if isinstance(model, type) else type(model)
    named = {**_installed(ENTRY_POINT_GROUP), **_READ_ONLY, **_BUILT_IN}
    found = {path: name for name, path in named.items()}
    known = found | {_path(c): name for name, c in _registered.items()}
    return known.get(_path(cls), _path(cls))


def model_origin(name: str) -> str:
    """Return where a model comes from: "built in", a package and its version, or a module."""
    if name in _BUILT_IN:
        return "built in"
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            return f"{point.dist.name} {point.dist.version}" if point.dist else point.module
    return model_class(name).__module__


def register_penalty(name: str) -> Callable[[F], F]:
    """Return a decorator that makes a function of u and cap a kind of `OODPenalty`.

    The function gets the surprise u (B,) as a tensor, whatever its size, infinite or NaN too, and
    cap > 0; `gormpo_density.testing.check_penalty` tells what it has to keep.

    Raises:
        ConfigError: The name is taken by another function.
    """

    def register(formula: F) -> F:
        taken = _path(_penalties[name]) if name in _penalties else None
        if name in _built_in_penalties():
            taken = f"gormpo_density.penalty:{name}"
        if taken not in (None, _path(formula)):
            raise ConfigError(f"penalty kind {name!r} is taken by {taken}")
        _penalties[name] = formula
        return formula

    return register


def available_penalties() -> tuple[str, ...]:
    """Return every penalty kind: ours, GORMPO's, then those installed and registered, sorted."""
    built_in = _built_in_penalties()
    return (*built_in, *sorted({*_installed(PENALTY_GROUP), *_penalties} - {*built_in}))


def plugged_penalty(name: str) -> Formula:
    """Return the function behind a kind that is not built in, or behind "package.module:function".

    Raises:
        ConfigError: Nothing has that name, it cannot be imported, or it cannot be called.
    """
    if name in _penalties:
        return _penalties[name]
    path = name if ":" in name else _installed(PENALTY_GROUP).get(name)
    if path is None:
        known = ", ".join(available_penalties())
        raise ConfigError(f"penalty kind {name!r} is unknown; choose from {known}")
    formula: Formula = _import(path, "penalty")
    if not callable(formula):
        raise ConfigError(f"penalty {path!r} is not a function of u and cap")
    return register_penalty(name)(formula)


def _built_in_penalties() -> tuple[str, ...]:
    from gormpo_density.penalty import GORMPO_KINDS, KINDS

    return (*KINDS, "conformal", *GORMPO_KINDS)


def suggestion(word: str, known: "tuple[str, ...] | list[str]") -> str:
    """Return ", did you mean 'x'?" or a list of what there is."""
    close = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {close[0]!r}?" if close else f"; choose from {', '.join(known)}"


def _path(thing: Any) -> str:
    return f"{thing.__module__}:{getattr(thing, '__qualname__', thing)}"


def _installed(group: str) -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=group)}


def _model(path: str) -> "type[DensityModel]":
    from gormpo_density.base import DensityModel

    cls = _import(path, "model")
    if not (isinstance(cls, type) and issubclass(cls, DensityModel)):
        raise ConfigError(f"model {path!r} is not a subclass of gormpo_density.DensityModel")
    return cls


def _import(path: str, noun: str) -> Any:
    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{noun} {path!r} cannot be imported: {error}") from error
