"""The arms of a run: what each one adds to the real rows, and the classifier all of them train."""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from pydantic import PositiveInt

from gormpo_density.augmentation.acceptance import Acceptance
from gormpo_density.augmentation.augmenter import Augmenter
from gormpo_density.augmentation.classifier import Classifier
from gormpo_density.augmentation.classifiers import available_classifiers, make_classifier
from gormpo_density.augmentation.latent import (
    METHODS,
    LatentAugmenter,
    LatentMethod,
    residual_problem,
)
from gormpo_density.augmentation.registry import available_augmenters, make_augmenter
from gormpo_density.base import LatentModel, NonNegative
from gormpo_density.errors import ConfigError
from gormpo_density.registry import suggestion
from gormpo_density.schema import Section, validate

if TYPE_CHECKING:
    from gormpo_density.augmenting.config import AugmentConfig

BASELINE = "baseline"
"""The arm that has the real rows alone."""

_STEPPED = ("resnet", "fcn")


class LatentArm(Section):
    """What an arm may set about a latent method; None takes the value of section `augment`."""

    noise: NonNegative | None = None
    num_samples: PositiveInt | None = None
    accept: bool | None = None
    residual: bool | None = None


def check_arm(name: str, method: str, params: Mapping[str, Any]) -> None:
    """Check an arm without making anything.

    Raises:
        ConfigError: The name is no part of a file's name, the method is unknown, or a parameter
            is unknown or out of range.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ConfigError(f"arm {name!r}: a name has letters, digits, - and _ only")
    if method == BASELINE:
        validate(Section, params, lambda _: f"arms.{name}")
    elif method in METHODS:
        validate(LatentArm, params, lambda _: f"arms.{name}")
        if problem := residual_problem(method, params.get("residual")):
            raise ConfigError(f"arms.{name}: {problem}")
    else:
        known = (BASELINE, *available_augmenters())
        if method not in known:
            raise ConfigError(f"arms.{name}: {method!r} is unknown{suggestion(method, known)}")
        make_augmenter(method, **params)


def known_classifier(name: str) -> str:
    """Return a classifier's name; ValueError if there is none of that name."""
    known = available_classifiers()
    if name not in known:
        raise ValueError(f"{name!r} is unknown{suggestion(name, known)}")
    return name


def make_arm(config: "AugmentConfig", name: str, model: LatentModel) -> Augmenter | None:
    """Return the augmenter of an arm, unfitted but for its model; None for the baseline."""
    arm = config.arms[name]
    method, params = arm.method or name, arm.params
    if method == BASELINE:
        return None
    if method in METHODS:
        return make_latent(config, cast(LatentMethod, method), model, **params)
    return make_augmenter(method, **{"num_samples": config.augment.num_samples, **params})


def make_latent(
    config: "AugmentConfig", method: LatentMethod, model: LatentModel, **params: Any
) -> LatentAugmenter:
    """Return a latent augmenter with the values of section `augment`, but for those given.

    The section's strength is that of its own method: others have other scales; and its residual
    is for methods that have one.
    """
    section = config.augment.model_dump(include=set(LatentArm.model_fields))
    if method != config.augment.method:
        section["noise"] = None
    if residual_problem(method, section["residual"]):
        section["residual"] = False
    values = section | {key: value for key, value in params.items() if value is not None}
    accept = Acceptance(alpha=config.calibration.alpha) if values.pop("accept") else None
    return LatentAugmenter(model, method=method, accept=accept, **values)


def make_arm_classifier(config: "AugmentConfig", rows: int, device: torch.device) -> Classifier:
    """Return the configured classifier, unfitted, for so many real rows."""
    section = config.classifier
    if section.name not in _STEPPED:
        return make_classifier(section.name)
    steps = section.steps or section.epochs * math.ceil(rows / section.batch_size)
    params = section.model_dump(exclude={"epochs"}) | {"steps": steps, "device": str(device)}
    return make_classifier(**params)
