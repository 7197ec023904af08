"""The code of GORMPO's VAE page runs as it stands there, but for the import and the device."""

import numpy as np
import pytest
import torch

from gormpo_density import VAE, create_synthetic_data, load_rl_data_for_vae, plot_training_curves

EPOCHS = 10  # 100 there
PARTS = ("loss", "recon", "kl")

normal_data, anomaly_data = create_synthetic_data(n_samples=2000, dim=5, anomaly_type="outlier")
train_data = normal_data[:1200]
val_data = normal_data[1200:1600]
test_data = normal_data[1600:]


@pytest.fixture(scope="module")
def trained():
    model = VAE(input_dim=5, latent_dim=3, hidden_dims=[128, 64], device="cpu")
    history = model.fit(
        train_data=train_data,
        val_data=val_data,
        test_data=test_data,
        epochs=EPOCHS,
        batch_size=128,
        lr=1e-3,
        beta=1.0,
    )
    return model, history


@pytest.fixture
def model(trained):
    model, _ = trained
    model.set_threshold(val_data)
    return model


def test_the_synthetic_data_is_normal_rows_and_anomalies() -> None:
    assert normal_data.shape == (2000, 5)
    assert anomaly_data.shape[1] == 5


def test_the_history_has_total_reconstruction_and_kl_of_three_splits(trained) -> None:
    _, history = trained
    names = {f"{split}_{part}" for split in ("train", "val", "test") for part in PARTS}
    assert set(history) == names
    assert {len(curve) for curve in history.values()} == {EPOCHS}
    assert history["val_loss"][-1] < history["val_loss"][0]
    for loss, recon, kl in zip(*(history[f"val_{part}"] for part in PARTS), strict=True):
        assert loss == pytest.approx(recon + 1.0 * kl, rel=1e-4)


def test_anomaly_detection_is_measured(model) -> None:
    results = model.evaluate_anomaly_detection(
        normal_data=test_data, anomaly_data=anomaly_data, plot=True
    )
    assert results["roc_auc"] > 0.9
    assert results["accuracy"] > 0.8
    assert results["normal_score_mean"] > results["anomaly_score_mean"]
    assert min(results["normal_score_std"], results["anomaly_score_std"]) > 0
    assert results["figure"].axes


def test_the_pair_of_files_is_saved_and_loaded(model, tmp_path) -> None:
    model.set_threshold(val_data, anomaly_fraction=0.05)
    model.save_model(f"{tmp_path}/saved_models/vae/my_model", train_data)
    files = sorted(path.name for path in (tmp_path / "saved_models" / "vae").iterdir())
    assert files == ["my_model_meta_data.pkl", "my_model_model.pth"]

    model_dict = VAE.load_model(f"{tmp_path}/saved_models/vae/my_model", hidden_dims=[128, 64])
    loaded = model_dict["model"]
    assert model_dict["thr"] == model.threshold == loaded.threshold
    scores = model.score_samples(train_data)
    assert model_dict["mean"] == pytest.approx(scores.mean().item(), abs=1e-4)
    assert model_dict["std"] == pytest.approx(scores.std().item(), abs=1e-4)
    assert torch.equal(loaded.score_samples(test_data), model.score_samples(test_data))


def test_the_threshold_comes_from_validation_data_or_from_a_hand(model) -> None:
    threshold = model.set_threshold(val_data, anomaly_fraction=0.05)
    assert model.predict_anomaly(val_data).float().mean() <= 0.05
    assert model.threshold == threshold

    model.threshold = -50.0
    is_anomaly = model.predict_anomaly(test_data)
    assert torch.equal(is_anomaly, model.score_samples(test_data) < -50)
    assert torch.equal(model.predict(test_data), 1 - 2 * is_anomaly.int())


def test_scores_and_verdicts_come_back_as_what_went_in(model) -> None:
    rows = test_data.numpy()
    assert isinstance(model.score_samples(rows), np.ndarray)
    assert isinstance(model.predict_anomaly(rows), np.ndarray)
    assert isinstance(model.predict(rows), np.ndarray)


def test_a_beta_vae_is_trained_with_fewer_arguments(trained) -> None:
    _, history = trained
    model = VAE(input_dim=5, latent_dim=3, hidden_dims=[128, 64])
    disentangled = model.fit(train_data, val_data, beta=4.0, epochs=EPOCHS)
    assert disentangled["val_kl"][-1] < history["val_kl"][-1]


def test_the_latent_space_can_be_looked_at(model) -> None:
    model.eval()
    with torch.no_grad():
        mu, logvar = model.encoder(test_data)
        reconstruction, mu_too, _ = model(test_data)
    samples = model.sample(num_samples=100)
    assert mu.shape == logvar.shape == (400, 3)
    assert samples.shape == (100, 5)
    assert torch.equal(mu, mu_too)
    total, recon, kl = model.loss_function(reconstruction, test_data, mu, logvar, 1.0)
    assert total.item() == pytest.approx((recon + kl).item(), rel=1e-5)
    assert total.isfinite()


def test_an_environment_of_d4rl_kind_gives_splits() -> None:
    class Env:
        def get_dataset(self):
            rng = np.random.default_rng(0)
            return {
                "observations": rng.normal(size=(500, 11)).astype(np.float32),
                "actions": rng.normal(size=(500, 3)).astype(np.float32),
                "rewards": rng.normal(size=500).astype(np.float32),
                "next_observations": rng.normal(size=(500, 11)).astype(np.float32),
                "terminals": np.arange(500) % 50 == 49,
            }

    args = {"task": "hopper-medium-v2", "obs_dim": (11,), "action_dim": 3}
    train, val, test, input_dim = load_rl_data_for_vae(
        args=args, env=Env(), val_split_ratio=0.2, test_split_ratio=0.2
    )
    assert input_dim == 14
    assert [len(split) for split in (train, val, test)] == [300, 100, 100]


def test_training_curves_are_drawn(trained, tmp_path) -> None:
    _, history = trained
    plot_training_curves(history, save_path=str(tmp_path / "curves.png"))
    assert (tmp_path / "curves.png").stat().st_size > 1000
