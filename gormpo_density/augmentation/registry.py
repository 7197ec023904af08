"""Augmenters by name, as a configuration gives them."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from gormpo_density.augmentation.augmenter import Augmenter, Pipeline
from gormpo_density.errors import ConfigError
from gormpo_density.registry import suggestion

#: A name, {"name": ..., parameters}, or a list of either: a pipeline.
Spec = str | Mapping[str, Any] | Sequence["Spec"]

_LATENT = "gormpo_density.augmentation.latent:LatentAugmenter"
_CLASSIC = "gormpo_density.augmentation.classic"
_WARPING = "gormpo_density.augmentation.warping"
_AUGMENTERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "jitter": (f"{_CLASSIC}:Jitter", {}),
    "scaling": (f"{_CLASSIC}:Scaling", {}),
    "magnitude_warp": (f"{_CLASSIC}:MagnitudeWarp", {}),
    "mixup": (f"{_CLASSIC}:Mixup", {}),
    "time_warp": (f"{_WARPING}:TimeWarp", {}),
    "window_slice": (f"{_WARPING}:WindowSlice", {}),
    "window_warp": (f"{_WARPING}:WindowWarp", {}),
    "permutation": (f"{_WARPING}:Permutation", {}),
    "noise": (_LATENT, {"method": "noise"}),
    "posterior": (_LATENT, {"method": "posterior"}),
    "interpolate": (_LATENT, {"method": "interpolate"}),
    "class_gaussian": (_LATENT, {"method": "class_gaussian"}),
}


def available_augmenters() -> tuple[str, ...]:
    """Return the name of every augmenter: the classic ones, then those of a latent space."""
    return tuple(_AUGMENTERS)


def augmenter_class(name: str) -> type[Augmenter]:
    """Return the class behind a name.

    Raises:
        ConfigError: Nothing has that name (near names are listed).
    """
    if name not in _AUGMENTERS:
        known = available_augmenters()
        raise ConfigError(f"augmenter {name!r} is unknown{suggestion(name, known)}")
    module, _, attribute = _AUGMENTERS[name][0].partition(":")
    cls: type[Augmenter] = getattr(importlib.import_module(module), attribute)
    return cls


def make_augmenter(spec: Spec, **params: Any) -> Augmenter:
    """Build an augmenter from a configuration.

        make_augmenter("jitter", sigma=0.03)
        make_augmenter({"name": "jitter", "sigma": 0.03})
        make_augmenter(["time_warp", {"name": "jitter", "sigma": 0.03}])

    Args:
        spec: A name, a mapping of the name and parameters, or a list of either: a `Pipeline`.
        params: Parameters beside a name.

    Raises:
        ConfigError: A name is unknown or missing, or a parameter does not fit.
    """
    if isinstance(spec, str):
        return _make(spec, params)
    if params:
        raise ConfigError(f"parameters {', '.join(params)} need a name beside them, got {spec!r}")
    if isinstance(spec, Mapping):
        rest = {key: value for key, value in spec.items() if key != "name"}
        return _make(spec.get("name"), rest)
    if isinstance(spec, Sequence):
        return Pipeline([make_augmenter(step) for step in spec])
    raise ConfigError(f"an augmenter is a name, a mapping or a list, got {spec!r}")


def _make(name: Any, params: Mapping[str, Any]) -> Augmenter:
    if not isinstance(name, str):
        raise ConfigError(f"an augmenter needs a name, got {name!r}")
    cls, fixed = augmenter_class(name), _AUGMENTERS[name][1]
    try:
        return cls(**fixed, **params)
    except TypeError as error:
        raise ConfigError(f"augmenter {name!r}: {error}") from error
