"""Part "ecg5000": heartbeats that are not normal, judged whole.

Protocol A learns from the normal beats of the archive's training file and judges its test file;
protocol B learns from 80 % of all normal beats, drawn by the seed, and judges all others. Of what
is learnt from, a random tenth sets the threshold (alpha 5 %), and a tenth stops the training of
models that are trained; all others have nothing to stop and learn from it too. Trained models take
the library's defaults but for the epochs and batches of the recurrent autoencoder.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.cells import Bench, Cell
from benchmarks.detection.autoencoder import MLP_AE
from benchmarks.detection.methods import Method, Setting, baseline, measure
from benchmarks.detection.rows import Column, Found, collect, metrics_table
from gormpo_density.timeseries.datasets import load_series
from gormpo_density.timeseries.readers.ecg5000 import Protocol

COLUMNS = (
    Column("AUROC", "roc_auc", 4),
    Column("AP", "pr_auc", 4),
    Column("F1 at the threshold", "f1"),
    Column("false alarms, %", "false_alarm_rate", 1, 100),
    Column("oracle F1", "oracle_f1", 4),
    Column("fit, CPU s", "fit_seconds", 1),
)
VAE_SCORES = ("elbo", "reconstruction")
#: Options of the recurrent autoencoder's fit: some 450 steps on either protocol.
RECURRENT_FIT: dict[Protocol, dict[str, int]] = {
    "A": {"epochs": 60, "batch_size": 32},
    "B": {"epochs": 30, "batch_size": 128},
}
#: What a learned model has to reach; on A it is what 1-NN got earlier with other code.
TARGETS = {"A": "AUROC .9932, AP .9857", "B": "AUROC .997"}


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        seeds: Of splits and fits.
        epochs: Of all learned models but the recurrent one.
        members: Of an ensemble.
        recurrent_fit: What replaces options of the recurrent one.
    """

    seeds: tuple[int, ...]
    epochs: int
    members: int
    recurrent_fit: Mapping[str, int]


FULL = Scale((0, 1, 2), 100, 3, {})
QUICK = Scale((0, 1), 1, 2, {"epochs": 1})


def report(bench: Bench) -> str:
    """Measure what is missing and return the tables."""
    scale = QUICK if bench.quick else FULL
    return "\n\n".join([_protocol(bench, scale, "A"), _protocol(bench, scale, "B")])


def methods(scale: Scale, protocol: Protocol) -> list[Method]:
    """Return all that is measured."""
    fit, k = {"epochs": scale.epochs}, scale.members
    recurrent_fit = {**RECURRENT_FIT[protocol], **scale.recurrent_fit}
    recurrent_scores = ("window_nll", "gaussian_nll", "mse")
    return [
        Method("recurrent_ae", {"name": "recurrent_ae"}, recurrent_fit, recurrent_scores),
        Method("vae", {"name": "vae"}, fit, VAE_SCORES),
        Method(f"vae x{k}", {"name": "ensemble", "model": "vae", "k": k}, fit, VAE_SCORES),
        Method("realnvp", {"name": "realnvp"}, fit),
        Method("autoencoder", {"name": MLP_AE}, fit),
        Method("kde", {"name": "kde"}),
        Method("gmm", {"name": "gmm"}),
        baseline("nearest", "1-NN"),
        *map(baseline, ("pca", "t2_q", "isolation_forest", "zscore", "random", "constant")),
    ]


def _protocol(bench: Bench, scale: Scale, protocol: Protocol) -> str:
    found: Found = {}
    for seed in scale.seeds:
        data = load_series("ecg5000", bench.data_dir, options={"protocol": protocol}, seed=seed)
        for method in methods(scale, protocol):
            cell = Cell("ecg5000", protocol, method.name, seed)
            collect(found, measure(bench, cell, method, setting(method), data))
    title = (
        f"## Protocol {protocol}\n\nMean over {len(scale.seeds)} seeds with the 95 % interval "
        f"(Student's); sorted by AUROC. Target of a learned model: {TARGETS[protocol]}."
    )
    return f"{title}\n\n{metrics_table(found, COLUMNS, sort_by='roc_auc')}"


def setting(method: Method) -> Setting:
    """Return what is held out: nothing to stop a training by where there is no training."""
    has_training = bool(method.fit)
    return Setting({"alpha": 0.05}, {"val_ratio": 0.1 if has_training else 0.01})
