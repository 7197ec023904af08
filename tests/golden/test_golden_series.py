"""Metrics of series are those of the reference, TSB-AD; scripts/make_golden_series.py asks it."""

import importlib.util
import json
from pathlib import Path

import pytest

from gormpo_density.timeseries.metrics import series_metrics, vus_window

STORED = json.loads((Path(__file__).parent / "series_metrics.json").read_text())


@pytest.fixture(scope="module")
def make_golden_series():
    path = Path(__file__).parents[2] / "scripts" / "make_golden_series.py"
    spec = importlib.util.spec_from_file_location("make_golden_series", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_case_is_stored(make_golden_series):
    assert set(STORED["metrics"]) == set(make_golden_series.CASES)
    assert set(STORED["vus_window"]) == set(make_golden_series.make_series())


@pytest.mark.parametrize("name", STORED["metrics"])
def test_metrics_are_those_of_the_reference(make_golden_series, name):
    labels, score, flags = make_golden_series.make_case(name)
    window = make_golden_series.CASES[name].window
    found = series_metrics(labels, score, vus_window=window, predicted=flags)
    stored = STORED["metrics"][name]
    assert {key: found[key] for key in stored} == pytest.approx(stored, rel=0, abs=1e-12)


@pytest.mark.parametrize("name", STORED["vus_window"])
def test_the_window_is_that_of_the_reference(make_golden_series, name):
    assert vus_window(make_golden_series.make_series()[name]) == STORED["vus_window"][name]
