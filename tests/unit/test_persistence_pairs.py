"""The two files of GORMPO: weights, and numbers in a pickle that cannot run code."""

import os
import pickle

import numpy as np
import pytest
import torch

from gormpo_density.errors import ModelFileError
from gormpo_density.models.realnvp import RealNVP
from gormpo_density.models.vae import VAE

ROWS = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    model = RealNVP(2, num_layers=2, hidden_dims=[4])
    model.fit(ROWS, epochs=1)
    model.calibrate(ROWS, alpha=0.1)
    return model


def test_a_pair_comes_back_with_threshold_mean_and_std(model, tmp_path):
    model.save_model(tmp_path / "a" / "prefix", ROWS)
    assert sorted(os.listdir(tmp_path / "a")) == ["prefix_meta_data.pkl", "prefix_model.pth"]
    loaded = RealNVP.load_model(str(tmp_path / "a" / "prefix"), hidden_dims=[4])
    scores = model.score_samples(ROWS).astype(np.float64)
    assert set(loaded) == {"model", "thr", "mean", "std"}
    assert loaded["thr"] == loaded["model"].threshold == model.threshold
    assert loaded["mean"] == pytest.approx(scores.mean(), rel=1e-6)
    assert loaded["std"] == pytest.approx(scores.std(ddof=1), rel=1e-6)
    np.testing.assert_array_equal(loaded["model"].score_samples(ROWS), model.score_samples(ROWS))


def test_what_was_not_known_is_none(tmp_path):
    model = VAE(2, latent_dim=1, hidden_dims=[4])
    model.fit(ROWS, epochs=1)
    model.save_model(tmp_path / "prefix")
    loaded = VAE.load_model(tmp_path / "prefix")
    assert (loaded["thr"], loaded["mean"], loaded["std"]) == (None, None, None)


class Call:
    """Pickles as a call of os.system."""

    def __reduce__(self):
        return os.system, ("touch hacked",)


def test_a_hostile_pickle_does_not_run(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for ending in ("meta_data.pkl", "model.pth"):
        model.save_model("prefix")
        (tmp_path / f"prefix_{ending}").write_bytes(pickle.dumps({"params": Call()}, 2))
        with pytest.raises(ModelFileError, match=r"^prefix: not a readable pair"):
            RealNVP.load_model("prefix")
    torch.save({"weight": Call()}, tmp_path / "prefix_model.pth")
    with pytest.raises(ModelFileError, match=r"^prefix: not a readable pair"):
        RealNVP.load_model("prefix")
    assert "hacked" not in os.listdir(tmp_path)


@pytest.mark.parametrize("ending", ["meta_data.pkl", "model.pth"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_half_a_pair_is_refused(model, tmp_path, ending, share):
    model.save_model(tmp_path / "prefix")
    path = tmp_path / f"prefix_{ending}"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelFileError, match="prefix: not a readable pair"):
        RealNVP.load_model(tmp_path / "prefix")
    path.unlink()
    with pytest.raises(ModelFileError, match="prefix: not a readable pair"):
        RealNVP.load_model(tmp_path / "prefix")


def test_a_pair_of_another_model_is_refused(model, tmp_path):
    model.save_model(tmp_path / "prefix")
    with pytest.raises(ModelFileError, match="the files hold a 'realnvp', not a 'vae'"):
        VAE.load_model(tmp_path / "prefix")
    with pytest.raises(ModelFileError, match=r"hidden_dims is \[8\], the file has \[4\]"):
        RealNVP.load_model(tmp_path / "prefix", hidden_dims=[8])


@pytest.mark.parametrize("metadata", [[], 5, {}, {"params": {}}, {"params": 3, "name": "realnvp"}])
def test_a_pair_with_other_numbers_is_refused(model, tmp_path, metadata):
    model.save_model(tmp_path / "prefix")
    (tmp_path / "prefix_meta_data.pkl").write_bytes(pickle.dumps(metadata))
    with pytest.raises(ModelFileError, match="prefix: not a readable pair"):
        RealNVP.load_model(tmp_path / "prefix")


def test_a_pair_of_a_newer_format_is_refused_naming_both(model, tmp_path):
    model.save_model(tmp_path / "prefix")
    path = tmp_path / "prefix_meta_data.pkl"
    path.write_bytes(pickle.dumps({**pickle.loads(path.read_bytes()), "format_version": 2}))
    with pytest.raises(ModelFileError, match=r"prefix: format version 2 .* reads 1 to 1"):
        RealNVP.load_model(tmp_path / "prefix")


@pytest.mark.parametrize("threshold", ["high", float("nan"), [1.0]])
def test_a_pair_whose_threshold_is_no_number_is_refused(model, tmp_path, threshold):
    model.save_model(tmp_path / "prefix")
    path = tmp_path / "prefix_meta_data.pkl"
    path.write_bytes(pickle.dumps({**pickle.loads(path.read_bytes()), "threshold": threshold}))
    with pytest.raises(ModelFileError, match="prefix: not a readable pair"):
        RealNVP.load_model(tmp_path / "prefix")
