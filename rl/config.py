"""The configuration of a MOPO run: a density run's sections, and those of the loop around it.

task, seed, device, data, model, fit, calibration    the density model, as in a density run
density, history, dynamics, penalty, bc, fqe, rollout, sac, evaluation, algorithm
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le
from pydantic import (
    AfterValidator,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from gormpo_density.config import (
    ConfigTree,
    DataConfig,
    Ratio,
    RunConfig,
    Section,
    UserPath,
    resolve_config,
)
from gormpo_density.penalty import check_kind
from gormpo_density.registry import available_penalties
from rl.gormpo_keys import MOPO_KEYS
from rl.path_model import refined_by

PenaltyName = Literal["none", "mopo", "disagreement", "total_std", "density", "combination"]
Algorithm = Literal["mopo", "bc", "td3bc"]
Share = Annotated[float, Ge(0), Le(1)]
Widths = tuple[PositiveInt, ...]


def _known_kind(name: str) -> str:
    if ":" not in name and name not in available_penalties():
        raise ValueError(f"must be one of {', '.join(available_penalties())}, is {name!r}")
    check_kind(name)  # imports another package's now, not once the dynamics are trained
    return name


class DynamicsConfig(Section):
    """The ensemble that predicts the next observation and the reward.

    Attributes:
        run: Run folder (or its dynamics/ folder) whose ensemble is reused; None trains one.
        members: Number of networks.
        elites: How many of them, the best on held-out episodes, make rollouts.
        hidden_dims: Width of each hidden layer.
        weight_decay: Decoupled weight decay of each layer, the output layer last.
        lr: Largest learning rate (cosine).
        batch_size: Rows a step.
        epochs: Most passes over the training rows.
        patience: A member stops after so many epochs that did not improve it.
    """

    run: UserPath | None = None
    members: PositiveInt = 7
    elites: PositiveInt = 5
    hidden_dims: Widths = (200, 200, 200, 200)
    weight_decay: tuple[NonNegativeFloat, ...] = (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4)
    lr: PositiveFloat = 4e-3
    batch_size: PositiveInt = 256
    epochs: PositiveInt = 10
    patience: PositiveInt = 5

    @model_validator(mode="after")
    def _check(self) -> "DynamicsConfig":
        if self.elites > self.members:
            raise ValueError(f"has {self.elites} elites of {self.members} members")
        if len(self.weight_decay) != len(self.hidden_dims) + 1:
            raise ValueError(
                f"needs a weight_decay for each of {len(self.hidden_dims) + 1} layers, "
                f"has {len(self.weight_decay)}"
            )
        return self


class PenaltyConfig(Section):
    """What a model transition costs for being uncertain or off the data.

    Attributes:
        name: "none" (MBPO), "mopo" (largest aleatoric std), "disagreement", "total_std",
            "density" (a function of the surprise u) or "combination" (std times e^(weight u)).
        coef: Factor in units of the reward's standard deviation; "auto" keeps the mean penalty
            of policy rollouts at `target` by a dual variable that starts at 1.
        target: Mean penalty, before the factor, that "auto" aims at. Of a penalty of the ensemble,
            which is nowhere 0: the share by which it may be above that of the clone's rollouts.
            The kind "gormpo-softplus" is nowhere 0 either; "auto" suits it badly.
        kind: Function of u, see `gormpo_density.penalty`; for "density" only.
        cap: Largest u that counts.
        score: Score of the density model; None is its default one.
        weight: Factor of u in the exponent; for "combination" only.
        calibrate_on: Whose actions on held-out states set the threshold: the cloned "policy" or
            the "data".
        truncate: A rollout ends where u exceeds this; None never.
        warn_flagged: Share of rollout rows with u > 0 above which a warning is given.
    """

    name: PenaltyName = "density"
    coef: NonNegativeFloat | Literal["auto"] = 1.0
    target: PositiveFloat = 0.1
    kind: Annotated[str, AfterValidator(_known_kind)] = "linear"
    cap: PositiveFloat = 10.0
    score: str | None = None
    weight: NonNegativeFloat = 0.1
    calibrate_on: Literal["policy", "data"] = "policy"
    truncate: float | None = None
    warn_flagged: Share = 0.5

    @property
    def needs_density(self) -> bool:
        """Whether a density model takes part."""
        return self.name in ("density", "combination") or self.truncate is not None


class HistoryConfig(Section):
    """Models of paths: sequences of rows, such as a VAE-LSTM's, as `model` or beside it.

    Attributes:
        length: Rows of a sequence that one is fitted on. Half of them are what it is shown of the
            data before a rollout, the other half is left to the rollout, which may be longer.
        sequences: Most sequences that it is fitted on, drawn at random.
        beside: Put a VAE-LSTM (`rl.path_model`) beside the model of rows that `model` or `density`
            names; the larger of both surprises counts.
    """

    length: Annotated[int, Ge(2)] = 16
    sequences: PositiveInt = 10_000
    beside: bool = False


class BCConfig(Section):
    """Behaviour cloning: the policy to start from and to stay near.

    Attributes:
        steps: Gradient steps.
        batch_size: Rows a step.
        lr: Largest learning rate (cosine).
    """

    steps: PositiveInt = 6000
    batch_size: PositiveInt = 256
    lr: PositiveFloat = 1e-3


class FQEConfig(Section):
    """Fitted Q evaluation of the cloned policy on real data: the critics to start from.

    Attributes:
        regression_steps: Steps towards the data's own discounted returns.
        steps: Steps of temporal differences after them.
    """

    regression_steps: NonNegativeInt = 2000
    steps: NonNegativeInt = 4000


class RolloutConfig(Section):
    """Model rollouts: when, from how many states, how long, kept for how long.

    Attributes:
        starts: Real states that one generation of rollouts starts from.
        length: Steps of each, at most.
        frequency: Updates between generations.
        retain: Generations kept; older ones are dropped.
        termination: A rule's name (see `rl.termination`), "module:function", "learned", "never",
            or "auto": the environment's own rule.
    """

    starts: PositiveInt = 8000
    length: PositiveInt = 5
    frequency: PositiveInt = 1000
    retain: PositiveInt = 5
    termination: str = "auto"


class SACConfig(Section):
    """Soft actor-critic on real and model rows.

    Attributes:
        epochs: Epochs; each is `steps_per_epoch` updates, one line of history.csv.
        steps_per_epoch: Updates of an epoch.
        batch_size: Rows an update.
        real_ratio: Share of real rows in a batch.
        hidden_dims: Width of each hidden layer of actor and critics.
        gamma: Discount. Returns are judged without one: at .99 a fall 300 steps ahead weighs 5 %
            and short runs forget it; .997 sees it.
        tau: Step of the target critics (Polyak).
        actor_lr: Largest learning rate of the actor, falling to zero along a half cosine.
        critic_lr: Learning rate of the critics.
        alpha: Temperature; "auto" learns it. Without effect while `kl` is on.
        alpha_lr: Learning rate of the temperature.
        target_entropy: Entropy that "auto" aims at; None is minus the number of action dimensions.
        kl: Weight of KL(pi || pi_BC) in the actor's loss, in place of the entropy; "auto" keeps
            the KL at `kl_target`, 0 is plain SAC, but for the bounds of critic targets, which
            know rewards and penalties and no entropy.
        kl_target: KL that "auto" aims at, nats for each action dimension.
        kl_lr: Learning rate of the logarithm of the automatic weight.
        warm_start: Start from the cloned policy and its critics.
        ema: Step of the averaged actor after each update.
    """

    epochs: PositiveInt = 20
    steps_per_epoch: PositiveInt = 1000
    batch_size: PositiveInt = 256
    real_ratio: Share = 0.5
    hidden_dims: Widths = (256, 256)
    gamma: Ratio = 0.997
    tau: Annotated[float, Gt(0), Le(1)] = 0.005
    actor_lr: PositiveFloat = 1e-4
    critic_lr: PositiveFloat = 3e-4
    alpha: PositiveFloat | Literal["auto"] = "auto"
    alpha_lr: PositiveFloat = 3e-4
    target_entropy: float | None = None
    kl: NonNegativeFloat | Literal["auto"] = "auto"
    kl_target: PositiveFloat = 0.1
    kl_lr: PositiveFloat = 1e-3
    warm_start: bool = True
    ema: Annotated[float, Gt(0), Le(1)] = 0.0005


class NoiseConfig(Section):
    """Noise of the environment's actuators and sensors, see `rl.noise`; raw units.

    Attributes:
        action_rate: Probability that an action is perturbed.
        action_scale: Standard deviation of that noise.
        obs_rate: Probability that an observation is perturbed.
        obs_scale: Standard deviation of that noise.
        loc: Mean of both.
    """

    action_rate: Share = 0.0
    action_scale: NonNegativeFloat = 0.001
    obs_rate: Share = 0.0
    obs_scale: NonNegativeFloat = 0.001
    loc: float = 0.0


class EvaluationConfig(Section):
    """Measuring the policy in the environment.

    Attributes:
        env_id: Gymnasium id; None is the data's own environment.
        episodes: Episodes at the end, of the deterministic and of the stochastic policy each.
        every: Epochs between evaluations on the way; 0 for none.
        episodes_on_the_way: Episodes of those.
        actor: The reported one: "last", or "ema" (the averaged one).
        noise: Under which all these episodes are; None for none.
    """

    env_id: str | None = None
    episodes: PositiveInt = 50
    every: NonNegativeInt = 5
    episodes_on_the_way: PositiveInt = 10
    actor: Literal["last", "ema"] = "ema"
    noise: NoiseConfig | None = None

    @model_serializer(mode="wrap")
    def _leave_out_no_noise(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write no key where there is no noise: such a run is one from before there was any."""
        values: dict[str, Any] = dump(self)
        if values["noise"] is None:
            del values["noise"]
        return values


class MOPOConfig(RunConfig):
    """Everything that decides a MOPO run.

    Attributes:
        data: The transitions.
        algorithm: "mopo", or a baseline without a model: "bc" or "td3bc".
        density: Run folder of the density model; None trains the one of `model` and `fit`.
        history: Density models of paths.
        dynamics: The ensemble.
        penalty: The penalty of model transitions.
        bc: Behaviour cloning.
        fqe: The critics to start from.
        rollout: Model rollouts.
        sac: The policy optimiser.
        evaluation: Episodes in the environment.
    """

    data: DataConfig = DataConfig()
    algorithm: Algorithm = "mopo"
    density: UserPath | None = None
    history: HistoryConfig = HistoryConfig()
    dynamics: DynamicsConfig = DynamicsConfig()
    penalty: PenaltyConfig = PenaltyConfig()
    bc: BCConfig = BCConfig()
    fqe: FQEConfig = FQEConfig()
    rollout: RolloutConfig = RolloutConfig()
    sac: SACConfig = SACConfig()
    evaluation: EvaluationConfig = EvaluationConfig()


def load_mopo_config(
    name: str | Path | None, overrides: Iterable[str] = (), *, model: str | None = None
) -> MOPOConfig:
    """Read, override and check a configuration; see `gormpo_density.config.load_config`.

    A VAE-LSTM is of paths here: what is not said of it is as `rl.path_model` has it.
    """
    tree = ConfigTree.read(name)
    refine = refined_by(tree, MOPOConfig)
    return resolve_config(tree, overrides, model, MOPOConfig, MOPO_KEYS, refine=refine)
