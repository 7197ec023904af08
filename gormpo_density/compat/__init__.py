"""For people who have GORMPO or OfflineRL-Kit today: their checkpoints, and our penalty in theirs.

model = load_model("models/hopper/realnvp")              # their pair of files, by its prefix
TransitionModel(..., classifier=as_gormpo_classifier(model))
MOPOPolicy(penalise(dynamics, OODPenalty(model)), ...)
"""

from gormpo_density.compat.classifier import GormpoClassifier, as_gormpo_classifier
from gormpo_density.compat.dynamics import PenalisedDynamics, penalise
from gormpo_density.compat.models import GormpoModel, GormpoRealNVP, GormpoVAE
from gormpo_density.compat.pairs import load_gormpo_pair

__all__ = [
    "GormpoClassifier",
    "GormpoModel",
    "GormpoRealNVP",
    "GormpoVAE",
    "PenalisedDynamics",
    "as_gormpo_classifier",
    "load_gormpo_pair",
    "penalise",
]
