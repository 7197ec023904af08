"""The flags of GORMPO's mopo.py and the flat keys of its policy files, under their own names.

Each is honoured under the path it stands for, or has no effect and its user is told why. Two of
them have other units here: a coefficient counts in standard deviations of the reward, and a
penalty is a function of the calibrated surprise u; see `gormpo_density.penalty`.
"""

import logging
from collections.abc import Callable, Mapping

from gormpo_density.config import ConfigTree, FlatKeys

logger = logging.getLogger(__name__)

_FIXED_ALPHA = 0.2  # GORMPO's temperature where none is given

_ALIASES: Mapping[str, str] = {
    "data_path": "data.data_path",
    "classifier_model_name": "density",
    "dynamics_model_dir": "dynamics.run",
    "dynamics_lr": "dynamics.lr",
    "n_ensembles": "dynamics.members",
    "n_elites": "dynamics.elites",
    "reward_penalty_coef": "penalty.coef",
    "penalty_type": "penalty.kind",
    "rollout_batch_size": "rollout.starts",
    "rollout_length": "rollout.length",
    "rollout_freq": "rollout.frequency",
    "model_retain_epochs": "rollout.retain",
    "epoch": "sac.epochs",
    "step_per_epoch": "sac.steps_per_epoch",
    "batch_size": "sac.batch_size",
    "real_ratio": "sac.real_ratio",
    "gamma": "sac.gamma",
    "tau": "sac.tau",
    "actor_lr": "sac.actor_lr",
    "critic_lr": "sac.critic_lr",
    "alpha_lr": "sac.alpha_lr",
    "target_entropy": "sac.target_entropy",
    "eval_episodes": "evaluation.episodes",
}

_NO_NOISE = "environments have no noise here"

_WITHOUT_EFFECT: Mapping[str, str] = {
    "algo_name": "it was a label; --run-dir names a run",
    "density_model": "it was a label; --density RUN or --model NAME choose the model",
    "target_dim": "widths come from the data",
    "policy_path": "a run keeps its policy in its own folder",
    "model_path": "a run keeps its models in its own folder",
    "logdir": "--run-dir says where everything goes",
    "root_dir": "--run-dir says where everything goes",
    "results_output": "every run has a metrics.json",
    "log_freq": "history.csv has every epoch",
    "devid": "--device cuda:N chooses a GPU",
    "terminal_counter": "an episode ends where its environment ends it",
    "noise_rate_action": _NO_NOISE,
    "noise_rate_transition": _NO_NOISE,
    "loc": _NO_NOISE,
    "scale_action": _NO_NOISE,
    "scale_transition": _NO_NOISE,
}


def _set_temperature(tree: ConfigTree) -> None:
    """Translate auto_alpha and alpha: the temperature is alpha where it is not learned."""
    if "auto_alpha" not in tree.values:
        tree.claim("alpha", "sac.alpha", tree.values["alpha"])
        return
    fixed = tree.values.pop("alpha", None)
    match tree.values["auto_alpha"]:
        case True:
            if fixed is not None:
                place = tree.origin("alpha")
                logger.warning("%s: alpha has no effect here: auto_alpha learns it", place)
            tree.claim("auto_alpha", "sac.alpha", "auto")
        case False:
            tree.claim("auto_alpha", "sac.alpha", _FIXED_ALPHA if fixed is None else fixed)
        case _:
            del tree.values["auto_alpha"]
            tree.problems.append(f"{tree.origin('auto_alpha')}: auto_alpha must be true or false")


def _set_level(tree: ConfigTree) -> None:
    """Translate threshold_percentile: 5 is the false-alarm rate .05."""
    value = tree.values["threshold_percentile"]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    tree.claim("threshold_percentile", "calibration.alpha", value / 100 if is_number else value)


def _set_seed(tree: ConfigTree) -> None:
    """Translate a file's seeds, as long as it is one; several runs need the flag."""
    seeds = tree.values["seeds"]
    tree.claim("seeds", "seed", seeds[0] if isinstance(seeds, list) and len(seeds) == 1 else seeds)
    if isinstance(tree.get("seed"), list):
        origin, several = tree.origin("seed"), " ".join(map(str, seeds))
        tree.problems.append(f"{origin}: a file describes one run; for several, --seeds {several}")
        tree.set("seed", 0, origin)


_TRANSLATIONS: Mapping[str, Callable[[ConfigTree], None]] = {
    "alpha": _set_temperature,
    "auto_alpha": _set_temperature,
    "threshold_percentile": _set_level,
    "seeds": _set_seed,
}

MOPO_KEYS = FlatKeys(_ALIASES, _WITHOUT_EFFECT, _TRANSLATIONS)
