"""The flags of GORMPO's mopo.py and the flat keys of its policy files, under their own names.

Each is honoured under the path it stands for, or has no effect and its user is told why. Two of
them have other units here: a coefficient counts in standard deviations of the reward, and a
penalty is a function of the calibrated surprise u; see `gormpo_density.penalty`.
"""

import logging
from collections.abc import Callable, Mapping

from gormpo_density.config import ConfigTree
from gormpo_density.flat_keys import FlatKeys, drop, set_level

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


def _set_seed(tree: ConfigTree) -> None:
    """Translate a file's seeds, as long as it is one; several runs need the flag."""
    seeds = tree.values["seeds"]
    if seeds == []:
        tree.problems.append(f"{tree.origin('seeds')}: seeds is empty; name one, or none at all")
        del tree.values["seeds"]
        return
    tree.claim("seeds", "seed", seeds[0] if isinstance(seeds, list) and len(seeds) == 1 else seeds)
    if isinstance(tree.get("seed"), list):
        origin, several = tree.origin("seed"), " ".join(map(str, seeds))
        tree.problems.append(f"{origin}: a file describes one run; for several, --seeds {several}")
        tree.set("seed", 0, origin)


#: What turns the noise of environments on, with its part of `NoiseConfig`.
NOISE_SWITCHES: Mapping[str, str] = {"action": "action", "transition": "obs"}
#: What is noise where a switch is on: the value that GORMPO takes where none is given.
NOISE_DEFAULTS: Mapping[str, float] = {
    "noise_rate_action": 0.01,
    "noise_rate_transition": 0.01,
    "scale_action": 0.001,
    "scale_transition": 0.001,
    "loc": 0.0,
}


def _set_noise(tree: ConfigTree) -> None:
    """Translate the noise of environments: as in GORMPO, there is none without a switch."""
    is_on = False
    for switch, part in NOISE_SWITCHES.items():
        value, origin = tree.values.pop(switch, False), tree.origin(switch)
        if not isinstance(value, bool):
            tree.problems.append(f"{origin}: {switch} must be true or false")
        if value is True:
            is_on = True
            _set_number(tree, f"noise_rate_{switch}", f"{part}_rate", origin)
            _set_number(tree, f"scale_{switch}", f"{part}_scale", origin)
    if is_on and "loc" in tree.values:
        tree.claim("loc", "evaluation.noise.loc", tree.values["loc"])
    for key in sorted(NOISE_DEFAULTS.keys() & tree.values.keys()):
        del tree.values[key]
        switch = key.rpartition("_")[2] if "_" in key else " or ".join(NOISE_SWITCHES)
        reason = f"there is no noise unless {switch} is true"
        logger.warning("%s: %s has no effect here: %s", tree.origin(key), key, reason)


def _set_number(tree: ConfigTree, key: str, name: str, origin: str) -> None:
    path = f"evaluation.noise.{name}"
    if key in tree.values:
        tree.claim(key, path, tree.values[key])
    elif tree.get(path) is None:
        tree.set(path, NOISE_DEFAULTS[key], origin)


_TRANSLATIONS: Mapping[str, Callable[[ConfigTree], None]] = {
    "alpha": _set_temperature,
    "auto_alpha": _set_temperature,
    "threshold_percentile": set_level("threshold_percentile"),
    "seeds": _set_seed,
    **dict.fromkeys([*NOISE_SWITCHES, *NOISE_DEFAULTS], _set_noise),
}

_DENSITY = "it describes the density model, which knows its own; --density RUN names one"

_IN_FILES: Mapping[str, str] = dict.fromkeys(
    ("hidden_dims", "activation", "time_dependent", "solver", "t0", "t1", "rtol", "atol"), _DENSITY
)


def _mend(tree: ConfigTree) -> None:
    """Leave out a dynamics_model_dir that names no folder; GORMPO ignores it as well."""
    if isinstance(tree.values.get("dynamics_model_dir"), bool):
        drop(tree, {"dynamics_model_dir": "it names no folder; --dynamics RUN names one"})


_NOTE = (
    "read as a file of GORMPO's. Numbers differ here: the penalty is a function of the "
    "calibrated surprise (penalty.kind=gormpo-tanh is GORMPO's), its coefficient counts in "
    "standard deviations of the reward, and the policy starts from a clone of the data's. See "
    "'Coming from GORMPO'"
)

MOPO_KEYS = FlatKeys(_ALIASES, _WITHOUT_EFFECT, _TRANSLATIONS, _IN_FILES, _mend, _NOTE)
