"""Augmenters by name, by mapping and by list."""

import numpy as np
import pytest

from gormpo_density.augmentation.augmenter import Pipeline
from gormpo_density.augmentation.classic import Jitter
from gormpo_density.augmentation.registry import (
    augmenter_class,
    available_augmenters,
    make_augmenter,
)
from gormpo_density.augmentation.warping import TimeWarp
from gormpo_density.errors import ConfigError


def test_the_names_are_those_of_configurations():
    assert available_augmenters() == (
        *("jitter", "scaling", "magnitude_warp", "mixup"),
        *("time_warp", "window_slice", "window_warp", "permutation"),
        *("noise", "posterior", "interpolate", "class_gaussian"),
    )
    assert augmenter_class("jitter") is Jitter


@pytest.mark.parametrize(
    "build",
    [
        lambda: make_augmenter("jitter", sigma=0.2, num_samples=3),
        lambda: make_augmenter({"name": "jitter", "sigma": 0.2, "num_samples": 3}),
    ],
)
def test_a_name_and_a_mapping_build_the_same(build):
    augmenter = build()
    assert isinstance(augmenter, Jitter)
    assert (augmenter.sigma, augmenter.num_samples) == (0.2, 3)


def test_a_list_is_a_pipeline():
    spec = ["time_warp", {"name": "jitter", "sigma": 0.2, "num_samples": 2}]
    pipeline = make_augmenter(spec)
    assert isinstance(pipeline, Pipeline)
    assert [type(step) for step in pipeline.steps] == [TimeWarp, Jitter]
    result = pipeline.augment(np.random.default_rng(0).normal(size=(3, 9)), np.arange(3))
    assert result.source.tolist() == [0, 1, 2, 0, 1, 2]
    assert spec[1] == {"name": "jitter", "sigma": 0.2, "num_samples": 2}


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("jiter", "'jiter' is unknown, did you mean 'jitter'"),
        ("", "choose from jitter, scaling"),
        ({"sigma": 0.1}, "needs a name, got None"),
        ({"name": "jitter", "sgima": 0.1}, "augmenter 'jitter': .*'sgima'"),
        ({"name": "jitter", "sigma": -1}, "sigma must be a number of at least 0"),
        (["jitter", {"name": "nothing"}], "'nothing' is unknown"),
        ([], "at least one step"),
        (3, "a name, a mapping or a list, got 3"),
    ],
)
def test_a_wrong_configuration_is_refused(spec, match):
    with pytest.raises(ConfigError, match=match):
        make_augmenter(spec)


@pytest.mark.parametrize("spec", [["jitter"], {"name": "jitter"}])
def test_parameters_need_a_name_beside_them(spec):
    with pytest.raises(ConfigError, match="parameters sigma need a name beside them"):
        make_augmenter(spec, sigma=0.1)
