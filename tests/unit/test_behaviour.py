import gymnasium as gym
import numpy as np
import pytest
from scipy.stats import truncnorm

from gormpo_density.data.behaviour import (
    ENV_IDS,
    REPLAY,
    BehaviourPolicy,
    UniformPolicy,
    collect,
    load_policy,
    measured_returns,
    mujoco_warnings_logged,
    rollout,
)
from gormpo_density.errors import ConfigError

LEVELS = sorted({*REPLAY, "expert"})


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def constant_policy(mean: float, std: float) -> BehaviourPolicy:
    """One observation, one action in [-1, 1], whose centre is `mean` whatever is observed."""
    return BehaviourPolicy(
        obs_mean=np.zeros(1),
        obs_std=np.ones(1),
        weights=(np.zeros((1, 2)), np.zeros((2, 1))),
        biases=(np.zeros(2), np.array([mean])),
        std=np.array([std]),
        low=-np.ones(1),
        high=np.ones(1),
    )


def draw(policy: BehaviourPolicy, n: int) -> np.ndarray:
    generator = rng()
    return np.array([policy(np.zeros(1), generator)[0] for _ in range(n)])


def test_mean_is_a_tanh_network_of_the_standardised_observation():
    policy = BehaviourPolicy(
        obs_mean=np.array([1.0]),
        obs_std=np.array([2.0]),
        weights=(np.array([[3.0]]), np.array([[5.0]])),
        biases=(np.array([0.5]), np.array([-1.0])),
        std=np.ones(1),
        low=-np.ones(1),
        high=np.ones(1),
    )
    assert policy.mean(np.array([2.0])) == pytest.approx(5 * np.tanh(3 * 0.5 + 0.5) - 1)
    assert policy.deterministic(np.array([2.0]), rng()) == pytest.approx(1.0)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.5), (0.9, 0.3), (-1.5, 0.3)])
def test_noise_is_the_truncated_normal(mean, std):
    actions = draw(constant_policy(mean, std), 4000)
    expected = truncnorm((-1 - mean) / std, (1 - mean) / std, loc=mean, scale=std)
    assert actions.mean() == pytest.approx(expected.mean(), abs=4 * expected.std() / 4000**0.5)
    assert np.all(np.abs(actions) <= 1)
    assert np.mean(np.abs(actions) > 0.999) < 0.02


@pytest.mark.parametrize("mean", [-50.0, 50.0])
def test_a_centre_far_outside_stays_at_its_own_bound(mean):
    assert draw(constant_policy(mean, 0.01), 100) == pytest.approx(np.sign(mean), abs=0.05)


def test_collect_gives_exactly_the_steps_asked_for():
    episodes = collect("Hopper-v5", load_policy("hopper", "random"), 90, rng(), progress=False)
    assert sum(len(episode) for episode in episodes) == 90
    assert all(len(episode.obs) == len(episode) + 1 for episode in episodes)
    assert all(episode.terminated for episode in episodes[:-1])
    assert episodes[-1].truncated


def test_making_an_environment_leaves_no_log_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    collect("HalfCheetah-v5", load_policy("halfcheetah", "random"), 5, rng(), progress=False)
    assert list(tmp_path.iterdir()) == []


def test_collect_is_seeded():
    policy = load_policy("inverted_pendulum", "medium")
    first, second = (
        collect("InvertedPendulum-v5", policy, 50, rng(), progress=False) for _ in range(2)
    )
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.obs, two.obs)
        np.testing.assert_array_equal(one.action, two.action)


def test_episode_replays_from_its_seed():
    episode = collect("Hopper-v5", load_policy("hopper", "medium"), 30, rng(), progress=False)[-1]
    with gym.make("Hopper-v5") as env:
        np.testing.assert_array_equal(env.reset(seed=episode.seed)[0], episode.obs[0])
        for action, obs in zip(episode.action, episode.obs[1:], strict=True):
            np.testing.assert_array_equal(env.step(action)[0], obs)


@pytest.mark.parametrize("env", ENV_IDS)
def test_shipped_policies_fit_their_environment(env):
    with mujoco_warnings_logged(), gym.make(ENV_IDS[env]) as made:
        for level in LEVELS:
            policy = load_policy(env, level)
            assert isinstance(policy, BehaviourPolicy)
            assert policy.obs_mean.shape == made.observation_space.shape
            np.testing.assert_array_equal(policy.high, made.action_space.high)
            assert np.all(policy.std > 0)


def test_random_policy_covers_the_action_space():
    policy = load_policy("inverted_pendulum", "random")
    assert isinstance(policy, UniformPolicy)
    generator = rng()
    actions = np.array([policy(np.zeros(4), generator) for _ in range(200)])
    assert actions.min() < -2.9
    assert actions.max() > 2.9


@pytest.mark.parametrize(("env", "level"), [("hopper", "master"), ("ant", "random")])
def test_unknown_policy_is_named(env, level):
    with pytest.raises(ConfigError, match=level):
        load_policy(env, level)


def test_every_shipped_policy_has_measured_returns():
    measured = {(row["env"], row["level"]) for row in measured_returns()}
    assert measured == {(env, level) for env in ENV_IDS for level in [*LEVELS, "random"]}


def test_levels_are_ordered_and_unsaturated():
    rows = {(row["env"], row["level"]): row for row in measured_returns()}
    for env in ENV_IDS:
        random, medium, expert = (
            rows[env, level]["mean"] for level in ("random", "medium", "expert")
        )
        assert random < medium < 2 / 3 * expert
    assert max(row["saturated"] for row in rows.values()) < 0.05


@pytest.mark.parametrize("env", ENV_IDS)
def test_expert_reproduces_its_measured_return(env):
    measured = {(row["env"], row["level"]): row for row in measured_returns()}[env, "expert"]
    policy, generator = load_policy(env, "expert"), rng()
    with mujoco_warnings_logged(), gym.make(ENV_IDS[env]) as made:
        episodes = [rollout(made, policy, generator, 1000) for _ in range(4)]
    returns = [episode.reward.sum() for episode in episodes]
    actions = np.concatenate([episode.action for episode in episodes])
    assert np.mean(returns) == pytest.approx(measured["mean"], abs=2 * measured["sd"] + 50)
    assert np.mean(np.abs(actions) > 0.999 * policy.high) < 0.05
