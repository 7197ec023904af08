"""t-SNE of states: where a policy and the model's rollouts go, beside the data."""

import functools
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rl.evaluate import Actor, evaluate_policy
from rl.saved_run import SavedMOPORun
from rl.termination import Termination

Floats = NDArray[np.float64]

PERPLEXITY = 40.0
#: Most states of one set: the cost grows faster than their number.
MOST_STATES = 400

_EPISODES = 5  # of a policy in the environment
_LARGEST_ENTRY = 100.0  # of a state that a rollout goes on from


def visited_states(
    run: SavedMOPORun, starts: int, horizon: int, seed: int, termination: Termination
) -> dict[str, Floats]:
    """Return states (n, O) by where they come from, the first being the data's held-out ones.

    Args:
        run: A finished run; its reported policy and its clone draw their actions.
        starts: Held-out states that the model is rolled out from.
        horizon: Steps of such a rollout, at most.
        seed: Of everything that is random.
        termination: Where such a rollout ends.
    """
    generator = torch.Generator(run.data.device).manual_seed(seed)
    held_out = run.data.obs[run.data.splits["test"]]
    act = functools.partial(run.policy.act, generator=generator)
    clone = functools.partial(run.clone.act, generator=generator)
    order = torch.randperm(len(held_out), generator=generator, device=held_out.device)
    imagined = _imagined(run, act, held_out[order[:starts]], horizon, generator, termination)
    return {
        "data": _floats(held_out),
        "clone in the environment": _lived(run, clone, seed),
        "policy in the environment": _lived(run, act, seed),
        "policy in the model": _floats(imagined),
    }


def _lived(run: SavedMOPORun, act: Actor, seed: int) -> Floats:
    device, noise = run.data.device, run.config.evaluation.noise
    found = evaluate_policy(
        act, run.env_id, _EPISODES, seed=seed, device=device, keep=_EPISODES, noise=noise
    )
    return np.concatenate(found.visited).astype(np.float64)


@torch.no_grad()
def _imagined(
    run: SavedMOPORun,
    act: Actor,
    obs: Tensor,
    horizon: int,
    generator: torch.Generator,
    termination: Termination,
) -> Tensor:
    """Return the states (n, O) that follow `obs` in rollouts of the model."""
    states = []
    for _ in range(horizon):
        action = act(obs)
        next_obs, _ = run.dynamics.sample(obs, action, generator)
        goes_on = ~termination(obs, action, next_obs)
        obs = next_obs[goes_on & (next_obs.abs() < _LARGEST_ENTRY).all(1)]
        states.append(obs)
    return torch.cat(states)


def _floats(rows: Tensor) -> Floats:
    return np.asarray(rows.double().cpu().numpy())


def embed_states(sets: Mapping[str, Floats], seed: int = 0) -> dict[str, Floats]:
    """Place states in the plane so that neighbours stay neighbours.

    All sets are embedded together, in standard deviations of the first. Distances between
    clusters and their sizes mean nothing; who mixes with whom does.

    Args:
        sets: States (n, O) by name, the data's first.
        seed: Of the choice of at most `MOST_STATES` states of each set, and of the embedding.

    Returns:
        Points (k, 2) by name.

    Source:
        van der Maaten & Hinton 2008, "Visualizing data using t-SNE", as in
        `sklearn.manifold.TSNE`; perplexity 40 as in GORMPO's tsne_policy_vs_dataset.py.
    """
    from sklearn.manifold import TSNE

    rng = np.random.default_rng(seed)
    data = next(iter(sets.values()))
    mean, std = data.mean(0), data.std(0)
    scale = np.where(std > 0, std, 1.0)
    chosen = {name: _thinned(rows, rng) for name, rows in sets.items()}
    pooled = (np.concatenate([*chosen.values()]) - mean) / scale
    perplexity = min(PERPLEXITY, (len(pooled) - 1) / 3)
    points = TSNE(perplexity=perplexity, init="random", random_state=seed).fit_transform(pooled)
    ends = np.cumsum([len(rows) for rows in chosen.values()])[:-1]
    return dict(zip(chosen, np.split(points.astype(np.float64), ends), strict=True))


def _thinned(rows: Floats, rng: np.random.Generator) -> Floats:
    order = rng.permutation(len(rows))[:MOST_STATES]
    return rows[np.sort(order)]
