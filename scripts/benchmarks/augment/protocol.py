"""Parts "arms", "low", "features": what augmentation adds, chosen on ten sets, confirmed on ten.

The ResNet makes the same number of steps in every arm and its last weights are judged; nothing is
chosen on a confirmation set, nor by its test rows. On the ten sets that choose, accuracy on their
test rows chooses the best of thirteen classic augmentations and the best two of thirteen of ours,
some at two strengths. Beside these stand the baseline and the ancestor's latent noise at its
published strength.
"""

from collections.abc import Sequence

import numpy as np

from benchmarks.augment import sets
from benchmarks.augment.arms import BASELINE, SEEDS, TUNING_SEEDS, Arm, Judge, Trial, measure
from benchmarks.augment.verdicts import Accuracies, deltas, sets_table, verdict_table
from benchmarks.cells import Bench
from benchmarks.tables import show, table
from gormpo_density.aggregate import mean_interval

_DEEP = {"lr": 1e-3, "precision": "bfloat16"}
#: Small batches for small sets, of 16 to 300 rows; Ismail Fawaz et al. 2019 take a tenth of the
#: rows for this network.
RESNET = Judge("resnet", {"steps": 1000, "batch_size": 4, **_DEEP}, {"steps": 2})
#: What the tuning sets see: as many rows in half of the steps, a little cheaper.
TUNING_RESNET = Judge("resnet", {"steps": 500, "batch_size": 8, **_DEEP}, {"steps": 2})
FEATURES = Judge("minirocket")

#: Size and input noise by the bound of held-out rows of five sets (GunPoint, ECGFiveDays, ECG200,
#: Trace, Symbols), among ten VAEs; the flow of principal components with its defaults has the
#: higher bound on three of the first four.
_VAE = {
    "model": {"name": "vae", "latent_dim": 16, "hidden_dims": [64]},
    "fit_options": {"noise": 0.1},
}
_FLOW = {"model": "pca_flow"}

NONE = Arm(BASELINE)
ANCESTOR = Arm("noise", {"name": "noise", **_VAE, "noise": 0.1})
CLASSIC = (
    Arm("jitter", {"name": "jitter"}),
    Arm("scaling", {"name": "scaling"}),
    Arm("time_warp", {"name": "time_warp"}),
    Arm("window_slice", {"name": "window_slice"}),
    Arm("window_warp", {"name": "window_warp"}),
    Arm("mixup", {"name": "mixup"}),
    Arm("jitter .1", {"name": "jitter", "sigma": 0.1}),
    Arm("scaling .3", {"name": "scaling", "sigma": 0.3}),
    Arm("magnitude_warp", {"name": "magnitude_warp"}),
    Arm("time_warp .05", {"name": "time_warp", "sigma": 0.05}),
    Arm("window_slice .05", {"name": "window_slice", "cut": 0.05}),
    Arm("window_warp .3", {"name": "window_warp", "stretch": 0.3}),
    Arm("permutation", {"name": "permutation"}),
)
OURS = (
    Arm("vae posterior", {"name": "posterior", **_VAE}),
    Arm("vae interpolate", {"name": "interpolate", **_VAE}),
    Arm("vae class_gaussian, accept", {"name": "class_gaussian", **_VAE, "accept": 0.05}),
    Arm("flow noise .3", {"name": "noise", **_FLOW, "noise": 0.3}),
    Arm("flow interpolate", {"name": "interpolate", **_FLOW}),
    Arm("flow noise .5, accept", {"name": "noise", **_FLOW, "noise": 0.5, "accept": 0.05}),
    Arm("vae noise .3, residual", {"name": "noise", **_VAE, "noise": 0.3, "residual": True}),
    Arm("vae noise 1, residual", {"name": "noise", **_VAE, "noise": 1.0, "residual": True}),
    Arm("vae posterior, residual", {"name": "posterior", **_VAE, "residual": True}),
    Arm("vae interpolate, residual", {"name": "interpolate", **_VAE, "residual": True}),
    Arm("flow noise .3, residual", {"name": "noise", **_FLOW, "noise": 0.3, "residual": True}),
    Arm("flow noise 1, residual", {"name": "noise", **_FLOW, "noise": 1.0, "residual": True}),
    Arm("flow interpolate, residual", {"name": "interpolate", **_FLOW, "residual": True}),
)
_N_OURS = 2


def report(bench: Bench) -> str:
    """Choose, confirm, and return the tables."""
    found = _accuracies(bench, "tuning", TUNING_RESNET, _candidates(), _tuning(bench))
    arms = _finalists(found)
    names = _confirmation(bench)
    confirmed = _accuracies(bench, "confirmation", RESNET, arms, names, seeds=SEEDS)
    return "\n\n".join(
        [
            f"## Chosen on {len(_tuning(bench))} sets\n\nSeed "
            f"{', '.join(map(str, TUNING_SEEDS))}, {TUNING_RESNET.settings(bench)['steps']} "
            f"steps. Chosen: {', '.join(arm.name for arm in arms[2:])}.",
            verdict_table(found),
            f"## Confirmed on the other {len(names)}\n\nMean over {len(SEEDS)} seeds, "
            f"{RESNET.settings(bench)['steps']} steps. The interval is Student's over sets, p "
            "Wilcoxon's over sets, corrected by Holm for the number of arms.",
            verdict_table(confirmed),
            sets_table(names, confirmed),
            _published_table(names, confirmed),
        ]
    )


def low(bench: Bench) -> str:
    """Return the tables of a tenth of the training rows, with the arms that were chosen."""
    arms, names = _chosen(bench), sets.LOW_DATA[: 2 if bench.quick else None]
    found = _accuracies(bench, "low", RESNET, arms, names, seeds=SEEDS, is_low=True)
    return "\n\n".join([verdict_table(found), sets_table(names, found)])


def features(bench: Bench) -> str:
    """Return the tables of the chosen arms under random convolutions and a linear classifier."""
    arms, names = _chosen(bench), [*_tuning(bench), *_confirmation(bench)]
    found = _accuracies(bench, "features", FEATURES, arms, names, seeds=SEEDS)
    nearest = _accuracies(bench, "features-nearest", Judge("nearest"), [NONE], names, seeds=(1,))
    floor = 100 * nearest[BASELINE].mean()
    return "\n\n".join(
        [
            f"All sets; 1-NN alone has {floor:.2f}.",
            verdict_table(found),
            sets_table(names, found),
        ]
    )


def _chosen(bench: Bench) -> list[Arm]:
    return _finalists(_accuracies(bench, "tuning", TUNING_RESNET, _candidates(), _tuning(bench)))


def _candidates() -> list[Arm]:
    return [NONE, ANCESTOR, *CLASSIC, *OURS]


def _finalists(found: Accuracies) -> list[Arm]:
    """Return baseline, the ancestor, the best classic arm and our best two."""

    def by_gain(arms: Sequence[Arm]) -> list[Arm]:
        return sorted(arms, key=lambda arm: -deltas(found, arm.name).mean())

    return [NONE, ANCESTOR, by_gain(CLASSIC)[0], *by_gain(OURS)[:_N_OURS]]


def _accuracies(
    bench: Bench,
    part: str,
    judge: Judge,
    arms: Sequence[Arm],
    names: Sequence[str],
    *,
    seeds: Sequence[int] = TUNING_SEEDS,
    is_low: bool = False,
) -> dict[str, np.ndarray]:
    """Return the accuracy (sets, seeds) of each arm, measuring what is missing set by set."""
    seeds = seeds[:2] if bench.quick else seeds
    trials = [Trial(arm, name, seed, is_low) for seed in seeds for name in names for arm in arms]
    results = measure(bench, part, judge, trials)
    found = {
        (trial.arm.name, trial.dataset, trial.seed): result["accuracy"]
        for trial, result in zip(trials, results, strict=True)
    }
    return {
        arm.name: np.array([[found[arm.name, name, seed] for seed in seeds] for name in names])
        for arm in arms
    }


def _tuning(bench: Bench) -> tuple[str, ...]:
    return sets.TUNING[: 2 if bench.quick else None]


def _confirmation(bench: Bench) -> tuple[str, ...]:
    return sets.CONFIRMATION[: 2 if bench.quick else None]


def _published_table(names: Sequence[str], found: Accuracies) -> str:
    """Return our baseline beside the ancestor's and InceptionTime, where these were published."""
    rows = []
    for name, accuracy in zip(names, found[BASELINE], strict=True):
        if name in sets.PUBLISHED:
            published = (f"{100 * value:.1f}" for value in sets.PUBLISHED[name])
            rows.append((name, show(mean_interval(accuracy), 1, 100), *published))
    header = ("set", "our baseline", "the ancestor's ResNet", "InceptionTime")
    return f"### The baseline beside published ones\n\n{table(header, rows)}"
