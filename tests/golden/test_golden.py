"""Scores change only on purpose. If a change is meant, run scripts/make_golden.py and say why."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from gormpo_density import available_models

STORED = json.loads((Path(__file__).parent / "scores.json").read_text())


@pytest.fixture(scope="module")
def make_golden():
    path = Path(__file__).parents[2] / "scripts" / "make_golden.py"
    spec = importlib.util.spec_from_file_location("make_golden", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_model_has_golden_scores():
    assert set(STORED["scores"]) == set(available_models())


@pytest.mark.parametrize("name", STORED["scores"])
def test_scores_are_the_stored_ones(make_golden, name):
    scores = make_golden.golden_scores(name)
    assert scores.keys() == STORED["scores"][name].keys()
    for score, values in scores.items():
        np.testing.assert_allclose(
            values,
            STORED["scores"][name][score],
            **STORED["tolerance"],
            err_msg=f"{name}: {score}, stored with {STORED['versions']}",
        )
