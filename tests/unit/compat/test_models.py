"""GORMPO's checkpoints: read without running their code, scored by their formulas, given back."""

import os
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gormpo_density import VAE, RealNVP, load_model
from gormpo_density.base import FLOOR
from gormpo_density.compat import GormpoRealNVP, GormpoVAE, load_gormpo_pair
from gormpo_density.errors import (
    ConfigError,
    GormpoDensityError,
    ModelFileError,
    NotFittedError,
    ShapeError,
)
from gormpo_density.penalty import OODPenalty
from gormpo_density.registry import available_models

# GORMPO, written from its signatures: names, formulas and files are its own, the code is not.


def chain(*widths: int) -> nn.Sequential:
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


class Vae(nn.Module):
    """Names: encoder.encoder.*, encoder.fc_mu, encoder.fc_logvar, decoder.decoder.*."""

    def __init__(self, input_dim: int, latent_dim: int, hidden_dims: list[int]) -> None:
        super().__init__()
        self.widths = {
            "input_dim": input_dim,
            "latent_dim": latent_dim,
            "hidden_dims": hidden_dims,
        }
        self.encoder, self.decoder = nn.Module(), nn.Module()
        self.encoder.encoder = chain(input_dim, *hidden_dims, 1)[:-1]
        self.encoder.fc_mu = nn.Linear(hidden_dims[-1], latent_dim)
        self.encoder.fc_logvar = nn.Linear(hidden_dims[-1], latent_dim)
        self.decoder.decoder = chain(latent_dim, *hidden_dims[::-1], input_dim)

    def score(self, x: Tensor) -> Tensor:
        mean = self.encoder.fc_mu(self.encoder.encoder(x))
        return -((x - self.decoder.decoder(mean)) ** 2).sum(1)


class Flow(nn.Module):
    """Names: coupling_layers.N.{mask, scale_net.network.*, translate_net.network.*}, prior_*."""

    def __init__(self, input_dim: int, num_layers: int, hidden_dims: list[int]) -> None:
        super().__init__()
        self.widths = {
            "input_dim": input_dim,
            "num_layers": num_layers,
            "hidden_dims": hidden_dims,
        }
        self.coupling_layers = nn.ModuleList()
        for number in range(num_layers):
            mask = (torch.arange(input_dim) % 2 == number % 2).float()
            layer = nn.Module()
            layer.register_buffer("mask", mask)
            kept = int(mask.sum())
            for name in ("scale_net", "translate_net"):
                net = nn.Module()
                net.network = chain(kept, *hidden_dims, input_dim - kept)
                setattr(layer, name, net)
            self.coupling_layers.append(layer)
        self.register_buffer("prior_mean", torch.zeros(input_dim))
        self.register_buffer("prior_std", torch.ones(input_dim))

    def score(self, x: Tensor) -> Tensor:
        log_det = torch.zeros(len(x), dtype=x.dtype)
        for layer in self.coupling_layers:
            kept = layer.mask.bool()
            log_scale = torch.tanh(layer.scale_net.network(x[:, kept]))
            moved = x[:, ~kept] * torch.exp(log_scale) + layer.translate_net.network(x[:, kept])
            x = torch.empty_like(x).masked_scatter(kept, x[:, kept]).masked_scatter(~kept, moved)
            log_det = log_det + log_scale.sum(1)
        normal = torch.distributions.Normal(self.prior_mean, self.prior_std)
        return normal.log_prob(x).sum(1) + log_det


def save(model: Vae | Flow, prefix: Path, **numbers: Any) -> None:
    """Save as their `save_model` does; the threshold is a numpy scalar, as from np.quantile."""
    torch.save(model.state_dict(), f"{prefix}_model.pth")
    metadata = {"threshold": np.float64(-3.5), **model.widths, "device": "cuda:0", **numbers}
    Path(f"{prefix}_meta_data.pkl").write_bytes(pickle.dumps(metadata))


def load(cls: type[Vae] | type[Flow], prefix: Path) -> dict[str, Any]:
    """Load as their `load_model` does: widths from the numbers, every weight in its place."""
    metadata = pickle.loads(Path(f"{prefix}_meta_data.pkl").read_bytes())
    kinds = {Vae: "latent_dim", Flow: "num_layers"}
    model = cls(metadata["input_dim"], metadata[kinds[cls]], metadata["hidden_dims"])
    state = torch.load(f"{prefix}_model.pth", map_location=metadata["device"])
    model.load_state_dict(state)
    return {"model": model, "thr": metadata["threshold"], **metadata}


ROWS = 3 * np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
KINDS = {
    "vae": (Vae, GormpoVAE, VAE),
    "realnvp": (Flow, GormpoRealNVP, RealNVP),
}


def theirs(kind: str, *widths, dtype=torch.float32, seed: int = 0):
    """Return a stand-in whose weights are far from zero."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = KINDS[kind][0](*(widths or (5, 3, [8, 6]))).to(dtype)
        for parameter in model.parameters():
            parameter.data.normal_(0, 0.5)
    return model


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def prefix(kind, tmp_path):
    save(theirs(kind), tmp_path / kind, mean=-2.0, std=1.5, threshold_candidates={1: -9})
    return tmp_path / kind


def test_a_pair_is_read_with_all_its_numbers(kind, prefix):
    found = load_gormpo_pair(str(prefix))
    model = found.pop("model")
    assert type(model) is KINDS[kind][1]
    assert found == {"thr": -3.5, "mean": -2.0, "std": 1.5, "threshold_candidates": {1: -9.0}}
    assert (model.threshold, model.hidden_dims, model.input_dim) == (-3.5, [8, 6], 5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_scores_are_those_of_the_formula(kind, tmp_path, dtype, tolerance):
    original = theirs(kind, dtype=dtype)
    save(original, tmp_path / "m")
    model = load_gormpo_pair(tmp_path / "m")["model"].to(dtype)
    rows = torch.from_numpy(ROWS).to(dtype)
    if dtype == torch.float64:  # the pair was read to float32
        model.load_state_dict({**model.state_dict(), **_weights(model, original)})
    expected = original.score(rows).detach()
    torch.testing.assert_close(model.score_samples(rows), expected, rtol=tolerance, atol=tolerance)


def _weights(model, original):
    return {k: v for k, v in original.state_dict().items() if k in model.state_dict()}


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    input_dim=st.integers(2, 6),
    middle=st.integers(1, 4),
    hidden=st.lists(st.integers(1, 7), min_size=1, max_size=3),
)
def test_any_widths_come_back_and_go_back(kind, input_dim, middle, hidden, tmp_path_factory):
    original = theirs(kind, input_dim, middle, hidden)
    prefix = tmp_path_factory.mktemp("pair") / "m"
    save(original, prefix)
    load_gormpo_pair(prefix)["model"].save_model(prefix)
    again = load(type(original), prefix)["model"].state_dict()
    assert again.keys() == original.state_dict().keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in original.state_dict().items())


def test_what_is_given_back_has_all_numbers(kind, prefix, tmp_path):
    model = load_gormpo_pair(prefix)["model"]
    model.save_model(tmp_path / "bare")
    found = load(KINDS[kind][0], tmp_path / "bare")
    assert (found["thr"], found["mean"], found["std"]) == (-3.5, None, None)
    model.save_model(tmp_path / "full", ROWS)
    found = load(KINDS[kind][0], tmp_path / "full")
    scores = model.score_samples(ROWS).astype(np.float64)
    assert (found["mean"], found["std"]) == pytest.approx((scores.mean(), scores.std()))


def test_our_class_of_that_name_reads_it_too(kind, prefix):
    _, imported, ours = KINDS[kind]
    assert type(ours.load_model(prefix)["model"]) is imported
    assert type(imported.load_model(prefix, hidden_dims=[8, 6])["model"]) is imported
    assert type(load_model(prefix)) is imported
    with pytest.raises(ModelFileError, match=r"hidden_dims is \[9\], the file has \[8, 6\]"):
        ours.load_model(prefix, hidden_dims=[9])
    other = {"vae": RealNVP, "realnvp": VAE}[kind]
    with pytest.raises(ModelFileError, match=f"the files hold a 'gormpo_{kind}', not a"):
        other.load_model(prefix)


def test_it_is_calibrated_and_saved_like_any_model(kind, prefix, tmp_path):
    model = load_gormpo_pair(prefix)["model"]
    calibration = model.calibrate(ROWS, alpha=0.1)
    model.save(tmp_path / "ours")
    loaded = load_model(tmp_path / "ours")
    assert type(loaded) is type(model)
    assert loaded.threshold == calibration.threshold
    np.testing.assert_array_equal(loaded.score_samples(ROWS), model.score_samples(ROWS))
    assert (OODPenalty(loaded)(100 * ROWS) > 0).all()


def test_a_row_is_scored_alone_and_differentiably(kind, prefix):
    model = load_gormpo_pair(prefix)["model"]
    rows = torch.from_numpy(ROWS).requires_grad_()
    scores = model.log_prob(rows)
    alone = torch.stack([model.log_prob(row[None])[0] for row in rows])
    torch.testing.assert_close(alone, scores, rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad(scores.sum(), rows)
    assert gradient.isfinite().all()
    bad = torch.tensor([[torch.nan] * 5, [torch.inf] * 5])
    assert model.score_samples(bad).tolist() == pytest.approx([FLOOR, FLOOR])
    with pytest.raises(ShapeError):
        model.score_samples(ROWS[:, :4])


def test_a_flow_goes_back_and_forth():
    flow = GormpoRealNVP(5, 4, [8]).double()
    for parameter in flow.parameters():
        parameter.data.mul_(3)
    x = torch.from_numpy(ROWS).double()
    torch.testing.assert_close(flow.decode(flow.encode(x)), x, rtol=0, atol=1e-9)
    jacobian = torch.autograd.functional.jacobian(lambda row: flow.encode(row[None])[0], x[0])
    normal = torch.distributions.Normal(torch.zeros(5).double(), 1.0)
    expected = normal.log_prob(flow.encode(x[:1])[0]).sum() + torch.linalg.slogdet(jacobian)[1]
    torch.testing.assert_close(flow.log_prob(x[:1])[0], expected, rtol=1e-10, atol=1e-10)


def test_samples_are_seeded(kind, prefix):
    model = load_gormpo_pair(prefix)["model"]
    assert model.sample(4, seed=1).shape == (4, 5)
    assert torch.equal(model.sample(4, seed=1), model.sample(4, seed=1))


def test_it_is_not_for_fitting(kind):
    imported = KINDS[kind][1]
    with pytest.raises(NotFittedError):
        imported(5).score_samples(ROWS)
    with pytest.raises(NotFittedError):
        imported(5).save_model("nowhere")
    with pytest.raises(GormpoDensityError, match=f"is not fitted; fit the model '{kind}'"):
        imported(5).fit(ROWS)
    assert not [name for name in available_models() if name.startswith("gormpo")]


def test_one_column_is_too_few_for_a_flow():
    with pytest.raises(ConfigError, match="input_dim must be at least 2"):
        GormpoRealNVP(1)


class Call:
    """Pickles as a call of os.system."""

    def __reduce__(self):
        return os.system, ("touch hacked",)


@pytest.mark.parametrize("ending", ["meta_data.pkl", "model.pth"])
@pytest.mark.parametrize("content", [pickle.dumps({"threshold": Call()}, 2), b"", b"\x80\x02"])
def test_a_hostile_or_broken_pair_is_refused(prefix, ending, content, monkeypatch):
    monkeypatch.chdir(prefix.parent)
    Path(f"{prefix}_{ending}").write_bytes(content)
    with pytest.raises(ModelFileError, match="not a readable pair of files"):
        load_gormpo_pair(prefix)
    assert not Path("hacked").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state.clear(), "neither GORMPO's VAE nor its RealNVP"),
        (lambda state: state.popitem(), "not a readable pair"),
        (lambda state: state.update(extra=torch.zeros(1)), "extra"),
        (lambda state: state.update(prior_mean=torch.ones(5)), "prior_mean is not what"),
        (
            lambda state: state.update({"coupling_layers.1.mask": torch.ones(5)}),
            r"coupling_layers\.1\.mask is not what GORMPO's RealNVP has",
        ),
    ],
)
def test_other_weights_are_refused(change, reason, tmp_path):
    save(theirs("realnvp"), tmp_path / "m")
    state = torch.load(tmp_path / "m_model.pth")
    change(state)
    torch.save(state, tmp_path / "m_model.pth")
    with pytest.raises(ModelFileError, match=reason):
        load_gormpo_pair(tmp_path / "m")


def test_a_pair_of_our_own_is_not_gormpos(tmp_path):
    model = RealNVP(5, num_layers=1, hidden_dims=[4])
    model.fit(ROWS, epochs=1)
    model.save_model(tmp_path / "m")
    with pytest.raises(ModelFileError, match="a pair of gormpo_density, not of GORMPO"):
        load_gormpo_pair(tmp_path / "m")
    np.testing.assert_array_equal(
        load_model(tmp_path / "m").score_samples(ROWS), model.score_samples(ROWS)
    )
    with pytest.raises(ModelFileError, match="nowhere: not a readable pair"):
        load_gormpo_pair("nowhere")


def test_a_folder_without_a_model_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for nothing in (".", "/", "..", "absent"):
        with pytest.raises(ModelFileError, match=r"no model\.safetensors in it"):
            load_model(nothing)
