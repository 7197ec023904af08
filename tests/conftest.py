"""Fixtures every test shares."""

import pytest


@pytest.fixture(autouse=True)
def minari_folder(tmp_path, monkeypatch):
    """Keep the tests' datasets away from the user's own."""
    folder = tmp_path / "minari"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    return folder
