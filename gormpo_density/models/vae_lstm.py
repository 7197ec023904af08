"""VAE-LSTM: a VAE of short windows whose prior is an LSTM over the windows before."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from gormpo_density.arrays import Data
from gormpo_density.base import LatentModel, PositiveInt
from gormpo_density.decisions import ScoreKind
from gormpo_density.errors import ConfigError
from gormpo_density.fitting import FitOptions, History, Hooks, Losses, Trainer
from gormpo_density.models.gaussians import DRAWS, kl_normal, log_normal
from gormpo_density.models.lstm_prior import LSTMPrior, LSTMState
from gormpo_density.models.vae import VAE
from gormpo_density.phases import NoisyPhaseOptions, PhaseOptions, Phases
from gormpo_density.schema import Section, validate
from gormpo_density.sequence import SequenceModel

#: Training sub-windows, and fresh draws of each, that tell what the stored draws add.
_MEASURED_WINDOWS, _FRESH_DRAWS = 4096, 64


class _FitSections(Section):
    """The sections of `fit`, one for each phase."""

    vae: NoisyPhaseOptions = NoisyPhaseOptions()
    lstm: PhaseOptions = PhaseOptions()
    joint: NoisyPhaseOptions | None = NoisyPhaseOptions()


_SECTIONS = _FitSections()


class VAELSTM(LatentModel, SequenceModel[LSTMState]):
    """VAE of sub-windows x_t whose latents z_t follow one another as an LSTM predicts.

    p(x, z) = prod_t p(z_t | z_<t) p(x_t | z_t). The local model p(x_t | z_t), q(z_t | x_t) is a
    `VAE`; the prior of the next latent, a Gaussian, is an `LSTMPrior`. Scores:

    - elbo: sum_t E_q[log p(x_t | z_t) - KL(q(z_t | x_t) || p(z_t | z_<t))] <= log p(x), a bound;
      the mean over 8 stored antithetic chains of draws, the same for every row. What these
      chains add to term t of all rows alike is measured after training and taken off.
    - prediction: -sum_{t>1} ||x_t - m(e_t)||^2 in standardised units, e_t the mean of
      p(z_t | z_<t) where z_<t are posterior means, m the decoder's mean (Lin et al.'s score).
    - reconstruction: -sum_t ||x_t - m(mu_t)||^2, mu_t the mean of q(z_t | x_t).
    - embedding: -sum_{t>1} ||mu_t - e_t||^2.

    Training has three phases: the VAE alone, on distinct sub-windows and against N(0, I); the LSTM
    alone, on the latents; then both together on the elbo. After the first two, which are Lin et
    al.'s training (`fit(joint=None)`), the latents hold what tells windows apart, not what can be
    predicted. At equal cost the third phase raised the bound of held-out data by 2 nats a
    sub-window on RL transitions, by .7 on a machine's temperature, on heartbeats only in
    batches of 64; smaller batches than the default 256 are worth their time here.

    Args:
        n_features: Channels D of a time step.
        window: Time steps of a sub-window.
        sequence_length: Sub-windows T of a sequence; event_shape is (window * T, n_features).
        latent_dim: Size of z_t.
        hidden_dims: Widths of the VAE's encoder; its decoder's are reversed.
        lstm_hidden_dim: Width of the LSTM.
        lstm_layers: LSTMs on top of one another.
        device: Where to put the model.

    Raises:
        ConfigError: A size is not a positive integer, or sequence_length is 1.

    Source:
        Lin et al. 2020, "Anomaly detection for time series using VAE-LSTM hybrid model", ICASSP.
        Differs: the LSTM gives a distribution, which makes the whole a density; a learned
        variance; nets of any window length and number of channels.
    """

    scores: ClassVar[Mapping[str, ScoreKind]] = {
        "elbo": "bound",
        "prediction": "surrogate",
        "reconstruction": "surrogate",
        "embedding": "surrogate",
    }
    draws_add: Tensor

    def __init__(
        self,
        n_features: int,
        window: PositiveInt = 1,
        sequence_length: Annotated[int, Ge(2)] = 16,
        latent_dim: PositiveInt = 8,
        hidden_dims: Sequence[PositiveInt] = (256, 128),
        lstm_hidden_dim: PositiveInt = 64,
        lstm_layers: PositiveInt = 1,
        device: str = "cpu",
    ) -> None:
        super().__init__(n_features, window, sequence_length)
        if sequence_length == 1:
            raise ConfigError("sequence_length must be at least 2, is 1: nothing to predict")
        self.latent_dim = latent_dim
        self.hidden_dims = list(hidden_dims)
        self.lstm_hidden_dim = lstm_hidden_dim
        self.lstm_layers = lstm_layers
        self.vae = VAE((window, n_features), latent_dim, hidden_dims)
        self.prior = LSTMPrior(latent_dim, lstm_hidden_dim, lstm_layers, sequence_length)
        self.register_buffer("draws_add", torch.zeros(sequence_length))
        self.chunk_rows = max(1, type(self).chunk_rows // sequence_length)  # type: ignore[misc]
        self._phases = _SECTIONS
        self._reset(seed=0)
        self.to(device)

    def reset_parameters(self) -> None:
        """Forget what the stored draws add."""
        self.draws_add.zero_()

    def fit(
        self,
        train_data: Data,
        val_data: Data | None = None,
        test_data: Data | None = None,
        *,
        vae: NoisyPhaseOptions = _SECTIONS.vae,
        lstm: PhaseOptions = _SECTIONS.lstm,
        joint: NoisyPhaseOptions | None = _SECTIONS.joint,
        **options: Any,
    ) -> History:
        """Fit as every model does, phase by phase, each with early stopping of its own.

        Args:
            train_data: (N, window * T, D), data units.
            val_data: As for every model.
            test_data: As for every model.
            vae: Options of the first phase in place of those of the whole fit: epochs,
                batch_size (sub-windows), lr, weight_decay, noise, grad_clip, patience. This and
                the next two may be mappings.
            lstm: Options of the second phase, whose batches are of sequences; it has no noise.
            joint: Options of the third phase, of sequences too; None leaves it out.
            options: As for every model; they hold for all phases.

        Returns:
            Curves of the phases one after another: loss = recon + kl, a sub-window's share of
            minus the elbo, nats of standardised data; "phase" is 0, 1 or 2. kl is to N(0, I) in
            phase 0, to the LSTM's prior afterwards. The checkpoint of phase i is the given file
            with "-i" behind its stem.

        Raises:
            ConfigError: An option of a phase is unknown or out of range; all are told.
        """
        self._phases = _read({"vae": vae, "lstm": lstm, "joint": joint})
        return super().fit(train_data, val_data, test_data, **options)

    def _fit(self, splits: dict[str, Tensor], options: FitOptions, hooks: Hooks) -> History:
        own, phases = self._phases, Phases(hooks, "phase")
        windows = {name: distinct(self._windows(z).flatten(0, 1)) for name, z in splits.items()}
        phases.run(Trainer(self.vae, windows, own.vae.of(options)).run)
        latents = {name: self._latents(z) for name, z in splits.items()}
        phases.run(Trainer(self.prior, latents, replace(own.lstm.of(options), noise=0.0)).run)
        if own.joint is not None:
            phases.run(Trainer(self, splits, own.joint.of(options)).run)
        self._measure_draws(splits["train"], options.seed)
        return phases.history

    @torch.no_grad()
    def _latents(self, z: Tensor) -> Tensor:
        """What the LSTM learns from, see `LSTMPrior.losses`."""
        parts = []
        for chunk in z.split(self.chunk_rows):
            mu, logvar = self._posterior(chunk)
            recon = self._recon(chunk, self.prior.draw(mu, logvar, None))
            parts.append(torch.cat([mu, logvar, recon[..., None]], -1))
        return torch.cat(parts)

    @torch.no_grad()
    def _measure_draws(self, train: Tensor, seed: int) -> None:
        """Set `draws_add`: mean terms under the stored draws minus those under fresh ones."""
        generator = torch.Generator(train.device)
        generator.manual_seed(seed)
        order = torch.randperm(len(train), generator=generator, device=train.device)
        rows = train[order[: max(1, _MEASURED_WINDOWS // self.sequence_length)]]
        added = torch.zeros_like(self.draws_add, dtype=torch.float64)
        for z in rows.split(self.chunk_rows):
            added += self._terms(z).sum(0)
            for _ in range(_FRESH_DRAWS):
                added -= self._terms(z, generator).sum(0) / _FRESH_DRAWS
        self.draws_add.copy_(added / len(rows))

    def losses(
        self, z: Tensor, generator: torch.Generator | None = None, progress: float = 1.0
    ) -> Losses:
        """Return loss = recon + kl and its parts: means over sub-windows, in nats."""
        parts = [self._parts(chunk, generator) for chunk in z.split(self.chunk_rows)]
        recon, kl = (torch.cat(part).mean() for part in zip(*parts, strict=True))
        return {"loss": recon + kl, "recon": recon, "kl": kl}

    def _log_prob(self, z: Tensor) -> Tensor:
        return (self._terms(z) - self.draws_add).sum(1)

    def _score(self, z: Tensor, name: str) -> Tensor:
        mu, windows = self._posterior(z)[0], self._windows(z).flatten(2)
        if name == "reconstruction":
            return _minus_square(windows - self.vae._decoder(mu)[0])
        predicted = self.prior(mu)[0][:, 1:]
        if name == "embedding":
            return _minus_square(mu[:, 1:] - predicted)
        return _minus_square(windows[:, 1:] - self.vae._decoder(predicted)[0])

    def _terms(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Terms of the bound by sub-window, (B, T), under stored draws or one of a generator."""
        recon, kl = self._parts(z, generator)
        return -recon - kl

    def _parts(self, z: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Return -E_q log p(x_t | z_t) and E_q KL(q(z_t | x_t) || p(z_t | z_<t)), each (B, T)."""
        mu, logvar = self._posterior(z)
        chains = self.prior.draw(mu, logvar, generator)
        kl = self.prior.divergence(mu, logvar, chains).mean(1)
        return self._recon(z, chains), kl

    def _recon(self, z: Tensor, chains: Tensor) -> Tensor:
        """Return -E_q log p(x_t | z_t), the mean over chains (B, K, T, latent_dim), as (B, T)."""
        windows = self._windows(z).flatten(2)[:, None]
        return -log_normal(windows, *self.vae._decoder(chains)).mean(1)

    def _windows(self, z: Tensor) -> Tensor:
        """Cut sequences into sub-windows, (B, T, window, D)."""
        return z.reshape(len(z), self.sequence_length, self.window, self.n_features)

    def _posterior(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar of q(z_t | x_t), each (B, T, latent_dim)."""
        mu, logvar = self.vae._posterior(self._windows(z).flatten(0, 1))
        shape = (len(z), self.sequence_length, self.latent_dim)
        return mu.reshape(shape), logvar.reshape(shape)

    def _empty_state(self, batch: int) -> LSTMState:
        return self.prior.start(batch, DRAWS)

    def _step(self, z: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        turn = state.steps % self.sequence_length  # beyond a sequence the draws come again
        noise = self.prior.noise_draws.transpose(0, 1)[turn]
        mu, logvar = (part[:, None] for part in self.vae._posterior(z))
        latent = mu + noise * (0.5 * logvar).exp()
        mean, prior_logvar = self.prior.predict_next(state)
        likelihood = log_normal(z.flatten(1)[:, None], *self.vae._decoder(latent))
        score = (likelihood - kl_normal(mu, logvar, mean, prior_logvar)).mean(1)
        unseen = mean + noise * (0.5 * prior_logvar).exp()
        latent = torch.where(score.isfinite()[:, None, None], latent, unseen)
        return score - self.draws_add[turn], self.prior.advance(latent, state)

    def encoder(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar of every q(z_t | x_t), one after another: (B, T * latent_dim)."""
        mu, logvar = self._posterior(self.standardizer(x))
        return mu.flatten(1), logvar.flatten(1)

    def encode(self, x: Tensor) -> Tensor:
        """Return the means of q(z_t | x_t), one after another: (B, T * latent_dim)."""
        return self.encoder(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """Return the means of p(x_t | z_t), (B, *event_shape), of latents (B, T * latent_dim)."""
        mean = self.vae._decoder(z.reshape(len(z), self.sequence_length, self.latent_dim))[0]
        return self.standardizer.inverse(mean.reshape(-1, *self.event_shape))

    def _sample(self, num_samples: int, generator: torch.Generator) -> Tensor:
        state, windows = self.prior.start(num_samples), []
        for _ in range(self.sequence_length):
            latent = _draw(*self.prior.predict_next(state), generator)
            windows.append(_draw(*self.vae._decoder(latent), generator))
            state = self.prior.advance(latent, state)
        return torch.stack(windows, 1).reshape(-1, *self.event_shape)


def distinct(rows: Tensor) -> Tensor:
    """Return rows without repetitions, in their order.

    Sequences that start at every step of a series hold each sub-window T times.
    """
    bits = rows.flatten(1).view(torch.int32 if rows.dtype == torch.float32 else torch.int64)
    generator = torch.Generator().manual_seed(0)
    odd = 1 + 2 * torch.randint(2**62, bits.shape[1:], generator=generator).to(rows.device)
    codes, order = (bits.long() * odd).sum(1).sort(stable=True)
    first = torch.cat([codes.new_ones(1, dtype=torch.bool), codes[1:] != codes[:-1]])
    return rows[order[first].sort().values]


def _read(given: Mapping[str, Any]) -> _FitSections:
    """Check what `fit` was told of its phases."""
    plain = {k: v.model_dump() if isinstance(v, Section) else v for k, v in given.items()}
    return validate(_FitSections, plain, lambda path: "fit")


def _draw(mean: Tensor, logvar: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.empty_like(mean).normal_(generator=generator)
    return mean + noise * (0.5 * logvar).exp()


def _minus_square(differences: Tensor) -> Tensor:
    return -differences.square().sum((1, 2))
