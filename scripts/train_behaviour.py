"""Train the behaviour policies of the embedded datasets and export them as numpy weights.

    python scripts/train_behaviour.py train hopper --seed 0 --snapshots DIR    # about 3 minutes
    python scripts/train_behaviour.py export hopper --snapshots DIR

`train` runs PPO (stable-baselines3, the extra `collect`) and saves a snapshot every few updates.
`export` measures every snapshot found for the environment, of all its seeds, and ships the best as
`expert`; the one of the same run nearest to 40 % of its return as `medium`; and four earlier ones,
evenly spread, as `replay-0` to `replay-3`. `returns.json` says what the shipped files achieve.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from gormpo_density.data.behaviour import (
    ENV_IDS,
    BehaviourPolicy,
    Episode,
    Policy,
    load_policy,
    mujoco_warnings_logged,
    policy_from_arrays,
    rollout,
)

WEIGHTS = Path(__file__).parent.parent / "gormpo_density" / "data" / "weights"
RETURNS = WEIGHTS / "returns.json"
TOTAL_STEPS = {
    "hopper": 600_000,
    "walker2d": 600_000,
    "inverted_pendulum": 60_000,
    "halfcheetah": 600_000,
}
STEPS_PER_UPDATE = 4 * 512
N_SNAPSHOTS = 30
NOISE = 0.5  # of the exploration noise is left in the shipped policies
MEDIUM_SHARE = 0.4  # of the expert's return
SELECTION_EPISODES = 10
REPORT_EPISODES = 50
SATURATED = 0.999  # |action| as a share of the bound


@dataclass(frozen=True)
class Snapshot:
    """One saved policy of one training run."""

    path: Path
    seed: int
    steps: int
    mean_return: float


def train(env: str, seed: int, folder: Path) -> None:
    """Train PPO on an environment and save about `N_SNAPSHOTS` snapshots, evenly spread."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback, EveryNTimesteps
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    class SaveSnapshot(BaseCallback):
        def _on_step(self) -> bool:
            path = folder / f"{env}-seed{seed}-{self.num_timesteps:08d}.npz"
            np.savez_compressed(path, allow_pickle=False, **_arrays(self.model))
            return True

    folder.mkdir(parents=True, exist_ok=True)
    total = TOTAL_STEPS[env]
    every = max(total // N_SNAPSHOTS // STEPS_PER_UPDATE, 1) * STEPS_PER_UPDATE
    model = PPO(
        "MlpPolicy",
        VecNormalize(make_vec_env(ENV_IDS[env], n_envs=4, seed=seed)),
        n_steps=512,
        batch_size=128,
        n_epochs=10,
        learning_rate=2.5e-4,
        gae_lambda=0.95,
        clip_range=0.2,
        policy_kwargs={"net_arch": [64, 64], "log_std_init": -1.0},
        seed=seed,
        device="cpu",
        verbose=1,
    )
    model.learn(total, callback=EveryNTimesteps(every, SaveSnapshot()), log_interval=10)


def _arrays(model: Any) -> dict[str, NDArray[Any]]:
    """Return the arrays of `behaviour.policy_from_arrays` for a stable-baselines3 PPO model."""
    normaliser = model.get_vec_normalize_env()
    hidden, _, hidden_2, _ = model.policy.mlp_extractor.policy_net
    layers = enumerate((hidden, hidden_2, model.policy.action_net))
    weights = {
        f"{key}{i}": value.detach().numpy().T.astype(np.float16)
        for i, layer in layers
        for key, value in (("w", layer.weight), ("b", layer.bias))
    }
    return {
        "obs_mean": normaliser.obs_rms.mean.astype(np.float32),
        "obs_std": np.sqrt(normaliser.obs_rms.var + normaliser.epsilon).astype(np.float32),
        "std": NOISE * model.policy.log_std.detach().exp().numpy(),
        "low": model.action_space.low,
        "high": model.action_space.high,
        **weights,
    }


def export(env: str, folder: Path) -> None:
    """Choose among the snapshots by measured return, ship the chosen ones and record them."""
    snapshots = [_snapshot(path, env) for path in sorted(folder.glob(f"{env}-seed*.npz"))]
    expert = max(snapshots, key=lambda snapshot: (snapshot.mean_return, snapshot.steps))
    run = [s for s in snapshots if s.seed == expert.seed and s.steps <= expert.steps]
    target = MEDIUM_SHARE * expert.mean_return
    medium = min(range(len(run)), key=lambda i: abs(run[i].mean_return - target))
    early = np.linspace(0, medium, 5).round().astype(int)[:-1]
    chosen = {f"replay-{i}": run[index] for i, index in enumerate(early)}
    chosen |= {"medium": run[medium], "expert": expert}
    rows = [{"env": env, "level": "random", "steps": 0, **_measure(env, "random")}]
    for level, snapshot in chosen.items():
        (WEIGHTS / f"{env}-{level}.npz").write_bytes(snapshot.path.read_bytes())
        origin = {"env": env, "level": level, "steps": snapshot.steps, "seed": snapshot.seed}
        rows.append({**origin, **_measure(env, level)})
    _record(env, rows)


def _snapshot(path: Path, env: str) -> Snapshot:
    seed, steps = path.stem.removeprefix(f"{env}-seed").split("-")
    with np.load(path, allow_pickle=False) as arrays:
        policy = policy_from_arrays(arrays)
    mean, _ = _mean_sd(_returns(_episodes(env, policy, SELECTION_EPISODES, seed=1)))
    print(f"{path.stem}: {mean:.0f}", flush=True)
    return Snapshot(path, int(seed), int(steps), mean)


def _measure(env: str, level: str) -> dict[str, float]:
    """Return what `returns.json` says of one shipped policy beside where it came from."""
    policy = load_policy(env, level)
    episodes = _episodes(env, policy, REPORT_EPISODES, seed=2)
    actions = np.concatenate([episode.action for episode in episodes])
    mean, sd = _mean_sd(_returns(episodes))
    measured = {
        "episodes": REPORT_EPISODES,
        "mean": mean,
        "sd": sd,
        "mean_length": round(float(np.mean([len(episode) for episode in episodes])), 1),
        "saturated": round(float(np.mean(np.abs(actions) > SATURATED * policy.high)), 4),
    }
    if isinstance(policy, BehaviourPolicy):
        returns = _returns(_episodes(env, policy.deterministic, REPORT_EPISODES, seed=2))
        measured["deterministic_mean"], measured["deterministic_sd"] = _mean_sd(returns)
    return measured


def _episodes(env: str, policy: Policy, n_episodes: int, seed: int) -> list[Episode]:
    rng = np.random.default_rng(seed)
    with mujoco_warnings_logged(), gym.make(ENV_IDS[env]) as made:
        episodes = [rollout(made, policy, rng, max_steps=1000) for _ in range(n_episodes)]
    return episodes


def _returns(episodes: list[Episode]) -> NDArray[np.float64]:
    return np.array([episode.reward.sum() for episode in episodes])


def _mean_sd(values: NDArray[np.float64]) -> tuple[float, float]:
    return round(float(values.mean()), 1), round(float(values.std(ddof=1)), 1)


def _record(env: str, rows: list[dict[str, Any]]) -> None:
    """Replace the rows of one environment in `returns.json`."""
    old = json.loads(RETURNS.read_text()) if RETURNS.exists() else []
    kept = [row for row in old if row["env"] != env]
    lines = (json.dumps(row) for row in sorted(kept + rows, key=lambda row: str(row["env"])))
    RETURNS.write_text("[\n  " + ",\n  ".join(lines) + "\n]\n")


def main() -> None:
    """Read the command line and train or export."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("action", choices=("train", "export"))
    parser.add_argument("env", choices=tuple(ENV_IDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--snapshots", type=Path, required=True, help="folder of the snapshots")
    arguments = parser.parse_args()
    if arguments.action == "train":
        train(arguments.env, arguments.seed, arguments.snapshots)
    else:
        export(arguments.env, arguments.snapshots)


if __name__ == "__main__":
    main()
