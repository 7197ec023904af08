"""An LSTM that gives the distribution of the next embedding from those before it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gormpo_density.fitting import Losses, Trainable
from gormpo_density.models.gaussians import DRAWS, LOGVAR_RANGE, kl_normal, spread_normals

#: Embeddings in one go when the loss is evaluated.
_CHUNK = 2048


class LSTMState(NamedTuple):
    """What is remembered of the embeddings so far, for rows B and chains (...) of each.

    Attributes:
        hidden: Output of every layer, (B, ..., layers, hidden_dim).
        cell: Memory of every layer, likewise.
        embedding: The last embedding, (B, ..., latent_dim).
        steps: Number of embeddings seen, (B,).
    """

    hidden: Tensor
    cell: Tensor
    embedding: Tensor
    steps: Tensor


class LSTMPrior(Trainable):
    """Gaussian of the next embedding: p(z_t | z_<t) = N(m, diag(v)), (m, log v) = A h_t + B z_t-1.

    h_t is the output of an LSTM that has read z_1, ..., z_t-1; both are zero before z_1, whose
    distribution is a learned Gaussian. The linear term B spares the LSTM copying what it has just
    read; with A = 0 the prior is a Gaussian autoregression.

    Args:
        latent_dim: Size of an embedding.
        hidden_dim: Width of the LSTM.
        num_layers: LSTMs on top of one another.
        sequence_length: Embeddings T of a sequence, each with noise draws of its own.
    """

    noise_draws: Tensor

    def __init__(
        self, latent_dim: int, hidden_dim: int, num_layers: int, sequence_length: int
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.hidden_dim = hidden_dim
        # Cells, for cuDNN's LSTM has no gradient in evaluation mode.
        self.cells = nn.ModuleList(
            nn.LSTMCell(hidden_dim if layer else latent_dim, hidden_dim)
            for layer in range(num_layers)
        )
        self.head = nn.Linear(hidden_dim + latent_dim, 2 * latent_dim)
        self.register_buffer("noise_draws", torch.zeros(DRAWS, sequence_length, latent_dim))

    def reset_parameters(self) -> None:
        """Redraw the noise of the scores, apart for each embedding of a sequence."""
        _, length, dim = self.noise_draws.shape
        half = torch.stack([spread_normals(DRAWS // 2, dim) for _ in range(length)], 1)
        self.noise_draws.copy_(torch.cat([half, -half]))

    def start(self, batch: int, *chains: int) -> LSTMState:
        """Return the state of rows, and chains of each, before their first embedding."""
        zeros = self.noise_draws.new_zeros
        memory = (batch, *chains, len(self.cells), self.hidden_dim)
        return LSTMState(
            hidden=zeros(memory),
            cell=zeros(memory),
            embedding=zeros(batch, *chains, self.latent_dim),
            steps=zeros(batch, dtype=torch.int64),
        )

    def advance(self, embedding: Tensor, state: LSTMState) -> LSTMState:
        """Return the state after one more embedding (B, ..., latent_dim)."""
        x, hidden, cell = embedding.flatten(0, -2), [], []
        for layer, lstm in enumerate(self.cells):
            memory = [m[..., layer, :].flatten(0, -2) for m in (state.hidden, state.cell)]
            x, c = lstm(x, memory)
            hidden.append(x)
            cell.append(c)
        new_hidden, new_cell = (
            torch.stack(parts, 1).reshape(state.hidden.shape) for parts in (hidden, cell)
        )
        return LSTMState(new_hidden, new_cell, embedding, state.steps + 1)

    def predict(self, hidden: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logvar of the next embedding, each (..., latent_dim).

        Args:
            hidden: Output of the last layer, (..., hidden_dim).
            embedding: The last embedding, (..., latent_dim).
        """
        mean, logvar = self.head(torch.cat([hidden, embedding], -1)).chunk(2, dim=-1)
        return mean, logvar.clamp(*LOGVAR_RANGE)

    def predict_next(self, state: LSTMState) -> tuple[Tensor, Tensor]:
        """Return mean and logvar of the embedding that follows on a state."""
        return self.predict(state.hidden[..., -1, :], state.embedding)

    def forward(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logvar of each embedding given those before it.

        Args:
            embeddings: (B, ..., T, latent_dim).

        Returns:
            Two tensors of that shape.
        """
        state = self.start(*embeddings.shape[:-2])
        before = [state]
        for embedding in embeddings.unbind(-2)[:-1]:
            before.append(self.advance(embedding, before[-1]))
        hidden = torch.stack([state.hidden[..., -1, :] for state in before], -2)
        return self.predict(hidden, torch.stack([state.embedding for state in before], -2))

    def divergence(self, mu: Tensor, logvar: Tensor, embeddings: Tensor) -> Tensor:
        """KL(q(z_t) || p(z_t | z_<t)) for every chain of drawn embeddings.

        Args:
            mu: Means of q, (B, T, latent_dim).
            logvar: Log-variances of q, likewise.
            embeddings: Chains drawn from q, (B, K, T, latent_dim).

        Returns:
            (B, K, T), nats.
        """
        return kl_normal(mu[:, None], logvar[:, None], *self(embeddings))

    def losses(
        self, z: Tensor, generator: torch.Generator | None = None, progress: float = 1.0
    ) -> Losses:
        """Return loss = recon + kl, means over embeddings, in nats; recon is only passed on.

        Minimising E_q KL(q(z_t) || p(z_t | z_<t)) maximises E_q log p(z_t | z_<t): the entropy of
        q, which is left as it is, is all that lies between them.

        Args:
            z: (B, T, 2 latent_dim + 1): mu and logvar of q(z_t | x_t) and -E_q log p(x_t | z_t).
            generator: Source of one draw a row in training; else the stored draws are taken.
            progress: Not used.
        """
        rows = len(z) if generator is not None else max(1, _CHUNK // z.shape[1])
        kl = torch.cat([self._drawn_divergence(part, generator) for part in z.split(rows)]).mean()
        recon = z[..., -1].mean()
        return {"loss": recon + kl, "recon": recon, "kl": kl}

    def _drawn_divergence(self, z: Tensor, generator: torch.Generator | None) -> Tensor:
        mu, logvar = z[..., :-1].chunk(2, dim=-1)
        return self.divergence(mu, logvar, self.draw(mu, logvar, generator))

    def draw(self, mu: Tensor, logvar: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw chains (B, K, T, latent_dim): one a row from a generator, else the stored draws."""
        noise = self.noise_draws
        if generator is not None:
            noise = torch.empty_like(mu).normal_(generator=generator)[:, None]
        return mu[:, None] + noise * (0.5 * logvar)[:, None].exp()
