"""Short examples: `python -m gormpo_density.examples [NAME ...]` runs those named, or all.

Each function is a whole program to copy from; sizes are small, so that each takes seconds.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from gormpo_density import (
    VAE,
    OODPenalty,
    RealNVP,
    create_synthetic_data,
    load_model,
    load_rl_data_for_vae,
)
from gormpo_density.cli import StrictParser, main_guard
from gormpo_density.data.columns import from_arrays
from gormpo_density.data.splits import split_episodes


def example_synthetic_data() -> None:
    """Train a VAE on toy data and watch its loss on three splits."""
    normal, _ = create_synthetic_data(n_samples=2000, dim=5, anomaly_type="outlier")
    model = VAE(input_dim=5, latent_dim=3, hidden_dims=[128, 64])
    history = model.fit(normal[:1200], normal[1200:1600], normal[1600:], epochs=20, beta=1.0)
    for split in ("train", "val", "test"):
        total, recon, kl = (history[f"{split}_{part}"][-1] for part in ("loss", "recon", "kl"))
        print(f"{split:5}  loss {total:.3f} = reconstruction {recon:.3f} + KL {kl:.3f}")
    print(f"a bound on log p(x) of a test row: {model.score_samples(normal[1600:])[0]:.2f} nats")


def example_anomaly_detection() -> None:
    """Set a threshold on rows that training never saw, and find outliers with it."""
    normal, outliers = create_synthetic_data(n_samples=3000, dim=5, anomaly_type="outlier")
    train, val, held_out, test = normal.split([1500, 300, 600, 600])
    model = RealNVP(input_dim=5, num_layers=4, hidden_dims=[64, 64])
    model.fit(train, val, epochs=20)
    threshold = model.set_threshold(held_out, anomaly_fraction=0.05)
    print(f"threshold {threshold:.2f} nats, for 5 % false alarms")
    print(f"flagged: {model.predict_anomaly(test).float().mean():.1%} of normal test rows,")
    print(f"         {model.predict_anomaly(outliers).float().mean():.1%} of outliers")
    results = model.evaluate_anomaly_detection(test, outliers)
    print(f"AUROC {results['roc_auc']:.3f}, accuracy {results['accuracy']:.3f}")


def example_rl_dataset() -> None:
    """Train on transitions of a dataset that is made on first use: rows [next state, action]."""
    args = {"task": "gormpo/inverted_pendulum/medium-v0"}
    train, val, test, input_dim = load_rl_data_for_vae(args)
    model = VAE(input_dim=input_dim, latent_dim=4, hidden_dims=[64, 64])
    model.fit(train, val, epochs=5)
    held_out, unseen = test.chunk(2)  # by time, so hardly any episode is in both
    model.set_threshold(held_out, anomaly_fraction=0.05)
    other = unseen.clone()
    other[:, -1].uniform_(-3, 3, generator=torch.Generator().manual_seed(0))
    results = model.evaluate_anomaly_detection(unseen, other)
    print(f"{len(train):,} training rows of width {input_dim}")
    print(f"mean score of test rows {results['normal_score_mean']:.2f} nats,")
    print(f"with random actions     {results['anomaly_score_mean']:.2f}")
    print(f"AUROC between the two   {results['roc_auc']:.3f}")


def example_own_arrays() -> None:
    """Go from one's own (obs, action) arrays to a penalty on actions the data never took."""
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(4000, 4))
    action = np.tanh(obs[:, :2] + 0.3 * rng.normal(size=(4000, 2)))
    data = from_arrays(obs, action, episode=np.arange(4000) // 50)
    splits = split_episodes(data.episode, seed=0)
    rows = data.rows("state_action")

    model = RealNVP(input_dim=6, num_layers=4, hidden_dims=[64, 64])
    model.fit(rows[splits.train], rows[splits.val], epochs=15)
    model.calibrate(rows[splits.cal], alpha=0.05)
    penalty = OODPenalty(model, kind="linear", coef=1.0)

    test = rows[splits.test]
    opposite = test * np.array([1, 1, 1, 1, -1, -1], dtype=np.float32)
    print(f"mean penalty of the data's own actions {penalty(test).mean():.3f}")
    print(f"mean penalty of the opposite actions   {penalty(opposite).mean():.3f}")


def example_save_and_load() -> None:
    """Save a model in both ways there are, load it again, and get the same scores."""
    normal, _ = create_synthetic_data(n_samples=1000, dim=4)
    model = VAE(input_dim=4, latent_dim=2, hidden_dims=[64, 32])
    model.fit(normal[:600], normal[600:800], epochs=10)
    model.set_threshold(normal[800:], anomaly_fraction=0.05)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model")  # all of it, calibration included
        loaded = load_model(Path(folder) / "model")
        model.save_model(Path(folder) / "vae", normal[:600])  # GORMPO's two files
        pair = VAE.load_model(Path(folder) / "vae", hidden_dims=[64, 32])
    scores = [m.score_samples(normal[800:]) for m in (model, loaded, pair["model"])]
    print(f"same scores: {all(torch.equal(s, scores[0]) for s in scores)}")
    print(f"threshold {pair['thr']:.2f}, training scores {pair['mean']:.2f} +- {pair['std']:.2f}")


def example_latent_space_analysis() -> None:
    """Look at where rows lie in a two-dimensional latent space, and draw new rows from it."""
    normal, outliers = create_synthetic_data(n_samples=2000, dim=6, anomaly_type="outlier")
    model = VAE(input_dim=6, latent_dim=2, hidden_dims=[128, 64])
    model.fit(normal[:1500], normal[1500:], epochs=20)
    with torch.no_grad():
        for name, rows in (("normal", normal[1500:]), ("outlier", outliers)):
            mu, logvar = model.encoder(rows)
            spread, width = mu.std(0).tolist(), (0.5 * logvar).exp().mean(0).tolist()
            print(f"{name:7}  spread of the means {spread[0]:.2f} {spread[1]:.2f},")
            print(f"         mean posterior width {width[0]:.2f} {width[1]:.2f}")
    samples = model.sample(num_samples=1000, seed=0)
    print(f"mean |x| of data {normal.abs().mean():.2f}, of samples {samples.abs().mean():.2f}")


def example_beta_vae() -> None:
    """Trade reconstruction for a simpler latent code by the weight of the KL term."""
    normal, _ = create_synthetic_data(n_samples=1200, dim=4)
    for beta in (0.1, 1.0, 4.0):
        model = VAE(input_dim=4, latent_dim=2, hidden_dims=[64, 32])
        history = model.fit(normal[:900], normal[900:], epochs=20, beta=beta)
        recon, kl = history["val_recon"][-1], history["val_kl"][-1]
        print(
            f"beta {beta}: reconstruction {recon:.2f} + KL {kl:.2f} = bound {recon + kl:.2f} nats"
        )


EXAMPLES: dict[str, Callable[[], None]] = {
    function.__name__.removeprefix("example_"): function
    for function in (
        example_synthetic_data,
        example_anomaly_detection,
        example_rl_dataset,
        example_own_arrays,
        example_save_and_load,
        example_latent_space_analysis,
        example_beta_vae,
    )
}


@main_guard
def main(argv: Sequence[str] | None = None) -> None:
    """Run examples by name, all of them by default."""
    parser = StrictParser("python -m gormpo_density.examples", "Run short examples.")
    parser.add_argument("name", nargs="*", choices=[[], *EXAMPLES], metavar="NAME")
    for name in parser.parse(argv).name or EXAMPLES:
        print(f"\n{name}: {EXAMPLES[name].__doc__}")
        EXAMPLES[name]()


if __name__ == "__main__":
    sys.exit(main())
